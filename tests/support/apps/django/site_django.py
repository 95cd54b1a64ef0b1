"""Django in one file: settings, urls, views, and both of its interfaces."""

import asyncio
import os
import time

import django
from django.conf import settings

SITE = os.environ["SITE"]  # shop.test:8443

if not settings.configured:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="for a test alone",
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=[SITE.partition(":")[0]],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
        # redirects whatever is not https: with a wrong scheme this would be a loop
        SECURE_SSL_REDIRECT=True,
    )
    django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import path, reverse  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


def front(request):
    return HttpResponse("<h1>hello from django</h1>")


def where(request):
    return JsonResponse(
        {
            "url": request.build_absolute_uri(),
            "external": request.build_absolute_uri(reverse("where")),
            "secure": request.is_secure(),
            "client": request.META["REMOTE_ADDR"],
        }
    )


def token(request):
    return HttpResponse(get_token(request))


def form(request):
    response = JsonResponse({"name": request.POST["name"], "cookies": request.COOKIES})
    response.set_cookie("visited", "yes")
    return response


def old(request):
    return HttpResponseRedirect(request.build_absolute_uri(reverse("where")))


def stream(request):
    def lines():
        for number in range(4):
            yield f"line {number}\n"
            time.sleep(0.2)

    async def lines_async():
        for number in range(4):
            yield f"line {number}\n"
            await asyncio.sleep(0.2)

    source = lines_async() if hasattr(request, "scope") else lines()
    return StreamingHttpResponse(source, content_type="text/plain")


@csrf_exempt
def upload(request):
    size = 0
    while piece := request.read(65536):
        size += len(piece)
    return JsonResponse({"size": size})


def boom(request):
    raise RuntimeError("the database password is hunter2")


urlpatterns = [
    path("", front),
    path("where", where, name="where"),
    path("token", token),
    path("form", form),
    path("old", old),
    path("stream", stream),
    path("upload", upload),
    path("boom", boom),
]

# what wsgi.py and asgi.py of a project have
application = get_wsgi_application()
asgi_application = get_asgi_application()
