# One image for every hop; docker-compose.yml says which hop a container is.
#
#   docker build --tag hopstack:local .

FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# without pip: what installs stays in this stage
RUN python -m venv --without-pip /opt/hopstack
# the dependencies first: they change seldom, and are not fetched again when the sources change
COPY pyproject.toml requirements.lock ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > wanted.txt \
 && python -m pip --python /opt/hopstack/bin/python install --quiet --constraint requirements.lock --requirement wanted.txt
COPY . .
RUN python -m pip --python /opt/hopstack/bin/python install --quiet --no-deps .

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="hopstack" \
      org.opencontainers.image.description="The whole web path: DNS, CDN edge, load balancer, reverse proxy, app server" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing here installs software; /etc/hopstack is for what is mounted, /var/lib/hopstack for what a hop writes.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.13/ensurepip /usr/local/lib/python3.13/site-packages/* \
 && groupadd --gid 10001 hopstack \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/hopstack --shell /usr/sbin/nologin hopstack \
 && install -d -o hopstack -g hopstack -m 0700 /var/lib/hopstack \
 && install -d /etc/hopstack/tls
COPY --from=build /opt/hopstack /opt/hopstack
# The admin endpoint stays on the container's own loopback; the health check and `docker compose exec` ask it there.
ENV PATH=/opt/hopstack/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOPSTACK_HOME=/var/lib/hopstack \
    HOPSTACK_ADMIN=http://127.0.0.1:8100
WORKDIR /var/lib/hopstack
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-m", "stack.hop.ask", "/-/ready"]
CMD ["hopstack", "--help"]
