"""What a file, flags and environment make of the default stack."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from stack.hop import registry
from stack.hop.certificates import listener_options
from stack.plan.document import Document
from stack.plan.make import make_plan, static_directory
from stack.plan.model import StackPlan

HOME = Path("/srv/.hopstack")


def plan(text: str = "", *, directory: Path = Path("/srv"), **more: Any) -> StackPlan:
    document = Document.of_text(textwrap.dedent(text), directory=directory) if text else None
    return make_plan(document, kinds=registry, state_dir=HOME, **{"environ": {}, **more})


def names(made: StackPlan, kind: str) -> list[str]:
    return [hop.name for hop in made.of(kind)]


# What a section that is left out, and an entry that says little, come to.


def test_one_line_is_a_complete_edge() -> None:
    made = plan("[edges.iad]\n")
    assert names(made, "cdn_edge") == ["edge-iad"]
    edge = made.hop("edge-iad").config
    assert edge.listen == ("https://127.0.1.1:8443", "http://127.0.1.1:8080")
    assert edge.origin == "lb-a=http://127.0.0.1:8101"
    assert edge.server_names == ("shop.test", "www.shop.test", "edge-iad.shop.test", "localhost")
    assert made.hop("lb-a").config.trusted == ("127.0.1.1",)
    assert "edge-iad IN A 127.0.1.1" in made.hop("dns-shop").files["zones/shop.zone"]
    assert "edge-fra" not in made.hop("dns-shop").files["zones/shop.zone"]
    assert len(made.of("proxy")) == 3


def test_one_more_hop_at_the_end_moves_no_other() -> None:
    few, more = plan('edges = ["fra", "nrt"]'), plan('edges = ["fra", "nrt", "iad", "sfo"]\nreplicas = 12\n')
    for hop in few.hops:
        assert more.hop(hop.name).config.listen == hop.config.listen
        assert more.hop(hop.name).config.admin == hop.config.admin


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("replicas", [1, 10, 100])
def test_as_many_as_one_likes_share_no_address(replicas: int, many: bool) -> None:
    """That they do would be a fault, and no plan."""
    made = plan(f"replicas = {replicas}\n", many_addresses=many, given={"port_base": 20_000})
    assert len(made.of("appserver")) == len(made.of("proxy")) == replicas


def test_apps_alone_have_a_proxy_each_and_proxies_alone_an_app() -> None:
    made = plan("[apps.red]\n[apps.blue]\n")
    assert names(made, "proxy") == ["proxy-red", "proxy-blue"]
    assert made.hop("proxy-blue").config.upstream.startswith("app-blue=")
    made = plan(
        '[proxies.web]\n[proxies.api]\nupstream = "http://127.0.0.1:9000"\n[proxies.two]\nupstream = "app-web"\n'
    )
    assert names(made, "appserver") == ["app-web"]
    assert made.hop("proxy-two").config.upstream == made.hop("proxy-web").config.upstream
    assert made.hop("app-web").config.trusted[:2] == ("127.0.3.1", "127.0.3.3")


def test_an_empty_section_is_none_of_them() -> None:
    made = plan("[balancers]\n")
    assert made.of("loadbalancer") == ()
    assert made.hop("edge-fra").config.origin == "proxy-1=https://127.0.0.1:8111"


# Options of several hops.


def test_the_nearest_word_wins() -> None:
    made = plan(
        """
        [defaults]
        limits.body = "1M"
        limits.head = "16K"
        access_log = "off"
        [limits]
        body = "2M"
        [edges.fra]
        limits.body = "3M"
        [edges.nrt]
        [cache]
        size = "64M"
        max_object = "1M"
        [edges.sfo]
        cache.size = "8M"
        """
    )
    assert [made.hop(f"edge-{key}").config.limits.body >> 20 for key in ("fra", "nrt")] == [3, 2]
    assert made.hop("app-1").config.limits.body == 2 << 20
    assert {hop.config.limits.head for hop in made.hops} == {16 << 10}
    assert {hop.config.access_log for hop in made.hops} == {"off"}
    assert [made.hop(f"edge-{key}").config.cache.size >> 20 for key in ("nrt", "sfo")] == [64, 8]
    assert made.hop("edge-sfo").config.cache.max_object == 1 << 20
    assert made.hop("resolver").config.cache.entries == 100_000, "the cache of a resolver is another one"


def test_a_pool_lends_its_options_to_its_balancer() -> None:
    made = plan(
        """
        [balancers.a]
        pool = "canary"
        retries = 0
        [balancers.b]
        pool = "hosts"
        [pools.hosts]
        [pools.canary]
        members = ["proxy-3", "old=http://10.0.0.7:80"]
        weight = { proxy-3 = 5, old = 1 }
        retries = 1
        check = "tcp"
        backend_timeouts.head = "5s"
        """
    )
    first, second = made.hop("lb-a").config, made.hop("lb-b").config
    assert first.backend == ("proxy-3=https://127.0.0.1:8113", "old=http://10.0.0.7:80")
    assert (first.weight, first.retries, first.check) == (("proxy-3=5", "old=1"), 0, "tcp")
    assert (first.backend_timeouts.head, first.backend_timeouts.connect) == (5.0, 5.0)
    assert len(second.backend) == 3
    assert (second.retries, second.check) == (2, "http:/health")
    assert made.hop("proxy-3").config.trusted[:2] == ("127.0.2.1", "127.0.2.2"), "both balancers send to it"
    assert made.hop("proxy-1").config.trusted[:1] == ("127.0.2.2",)


def test_flag_before_environment_before_file_before_default() -> None:
    text = '[edges.fra]\ncache.size = "1M"\nlimits.body = "1M"\n[edges.nrt]\n'
    made = plan(text + '[defaults]\naccess_log = "off"\n', environ={"HOPSTACK_LIMITS_BODY": "2M"})
    assert made.hop("edge-fra").config.limits.body == made.hop("app-3").config.limits.body == 2 << 20
    assert made.hop("edge-fra").config.cache.size == 1 << 20
    environ = {"HOPSTACK_REPLICAS": "2", "HOPSTACK_APP": "a:b"}
    made = plan("replicas = 1\napp_dir = 'x'\n", environ=environ, given={"app": "main:app", "edges": "iad,sfo"})
    assert len(made.of("appserver")) == 2
    assert made.hop("app-1").config.app == "main:app"
    assert names(made, "cdn_edge") == ["edge-iad", "edge-sfo"]
    said = made.sources["app-1"]
    assert str(said["app",]) == "--app"
    assert str(said["app_dir",]) == "stack.toml:2"


def test_the_environment_names_no_process() -> None:
    environ = {"HOPSTACK_NAME": "x", "HOPSTACK_LISTEN": "http://127.0.0.1:1", "HOPSTACK_SOURCE": "127.0.0.9"}
    assert plan(environ=environ).hops == plan().hops


def test_each_value_has_its_source() -> None:
    made = plan("\n[timeouts]\nidle = '80s'\n[edges.fra]\n", environ={"HOPSTACK_LIMITS_BODY": "1M"})
    said = {".".join(path): str(source) for path, source in made.sources["edge-fra"].items()}
    assert said["timeouts.idle"] == "stack.toml:3"
    assert said["limits.body"] == "HOPSTACK_LIMITS_BODY"
    assert said["listen"] == "by its position"
    assert said["origin"] == "lb-a listens there"
    assert "cache.size" not in said


# What stands behind.


def test_your_own_app() -> None:
    made = plan(given={"app": "main:app", "replicas": 2}, directory=Path("/srv"))
    assert names(made, "appserver") == ["app-1", "app-2"]
    assert made.name.endswith(".test")
    assert made.name != "shop.test"
    app, proxy, balancer = made.hop("app-1"), made.hop("proxy-1").config, made.hop("lb-a").config
    assert app.config.app == "main:app"
    assert "DATABASE_URL" not in app.env
    assert proxy.static == ()
    assert (balancer.check, balancer.check_status) == ("http:/health", ("100-499",))
    assert (proxy.health, proxy.health_status) == ("/health", ("100-499",))
    assert balancer.check_host == made.name


def test_no_health_is_asked_of_nobody() -> None:
    """Of gRPC, which answers no GET."""
    made = plan('origin = "h2c://127.0.0.1:9"\nhealth = ""\n')
    assert (made.hop("lb-a").config.check, made.hop("proxy-1").config.health) == ("tcp", "")


def test_your_own_health() -> None:
    made = plan('app = "main:app"\nhealth = "/up"\n')
    balancer, proxy = made.hop("lb-a").config, made.hop("proxy-1").config
    assert (balancer.check, balancer.check_status) == ("http:/up", ("200-399",))
    assert (proxy.health, proxy.health_status) == ("/up", ("200-399",))
    assert {hop.config.access_log_skip for hop in made.hops if hop.kind != "dns_server"} == {("/up",)}


@pytest.mark.parametrize(
    ("folder", "name"),
    [("shop", "shop.test"), ("My Shop_2", "my-shop-2.test"), ("...", "app.test"), ("x" * 80, "x" * 63 + ".test")],
)
def test_the_site_is_called_after_its_directory(folder: str, name: str) -> None:
    made = plan('app = "main:app"\n', directory=Path("/srv") / folder)
    assert made.name == name
    assert made.hop("edge-fra").config.server_names[0] == name
    assert f"shop={name}" not in made.hop("dns-shop").config.zone
    assert made.hop("dns-shop").config.zone[0].startswith(f"{name}=")
    assert made.hop("app-1").config.app_dir == str(Path("/srv") / folder)


def test_paths_of_a_file_begin_at_its_directory(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).touch()
    made = plan(
        """
        static = "public"
        [tls]
        cert = "c.pem"
        key = "k.pem"
        [defaults]
        access_log = "logs/x.log"
        [routes.old]
        prefix = "/old/"
        static = "public"
        [edges.fra]
        listen = [
          "https://127.0.0.1:9443?client_cert=optional&client_ca=a+b/staff%2B.pem",
          "https://127.0.0.1:9444?client_ca=/srv/ca.pem",
          "http://127.0.0.1:9080",
        ]
        """,
        directory=tmp_path,
    )
    assert [listener_options(item.query) for item in made.hop("edge-fra").listen] == [
        {"client_cert": "optional", "client_ca": str(tmp_path / "a b/staff+.pem")},
        {"client_ca": "/srv/ca.pem"},
        {},
    ]
    assert made.hop("edge-fra").config.cert == (str(tmp_path / "c.pem"),)
    assert made.hop("proxy-1").config.cert == ()
    assert made.hop("app-1" if made.of("appserver") else "proxy-1").config.access_log == str(tmp_path / "logs/x.log")
    assert made.hop("proxy-1").config.static == (f"/={tmp_path / 'public'}", f"/old/={tmp_path / 'public'}")


def test_origins_have_a_proxy_each_and_no_apps() -> None:
    made = plan('origin = ["http://127.0.0.1:3000", "http://10.0.0.2:3000"]\n')
    assert made.of("appserver") == ()
    assert [proxy.config.upstream for proxy in made.of("proxy")] == [
        "origin-1=http://127.0.0.1:3000",
        "origin-2=http://10.0.0.2:3000",
    ]
    assert [proxy.config.upstream[:8] for proxy in plan('origin = "http://h:1"\nreplicas = 2\n').of("proxy")] == [
        "origin-1",
        "origin-1",
    ]
    assert len(plan(given={"origin": "http://127.0.0.1:3000"}).of("proxy")) == 1


def test_files_alone_need_neither_app_nor_origin(tmp_path: Path) -> None:
    made = plan(given={"static": [str(tmp_path)]})
    assert made.of("appserver") == ()
    assert [(proxy.config.upstream, proxy.config.static) for proxy in made.of("proxy")] == [("", (f"/={tmp_path}",))]
    made = plan(given={"static": [str(tmp_path)], "app": "main:app"})
    assert made.hop("proxy-3").config.static == (str(tmp_path),)
    assert len(made.of("appserver")) == 3


def test_the_demo_shop_has_its_own_files_and_database() -> None:
    made = plan()
    assert made.hop("proxy-1").config.static == (str(static_directory()),)
    assert made.hop("app-1").env == {"DATABASE_URL": f"sqlite:///{HOME}/shop.db"}
    assert plan(environ={"DATABASE_URL": "postgresql://x/y"}).hop("app-2").env == {"DATABASE_URL": "postgresql://x/y"}
    assert plan(given={"app": "a:b", "database_url": "x://"}).hop("app-1").env == {"DATABASE_URL": "x://"}


@pytest.mark.parametrize(
    "louder", [{"given": {"origin": ["http://h:1"]}}, {"environ": {"HOPSTACK_ORIGIN": "http://h:1"}}]
)
@pytest.mark.parametrize("text", ['app = "main:app"\n', "[apps.1]\n[apps.2]\n", "[proxies.1]\nhealth = '/x'\n"])
def test_what_a_flag_says_stands_in_for_what_the_file_has(text: str, louder: dict[str, Any]) -> None:
    made = plan(text, **louder)
    assert made.of("appserver") == ()
    assert [proxy.config.upstream for proxy in made.of("proxy")] == ["origin-1=http://h:1"]


def test_an_entrys_own_app_and_health_win_over_the_top_of_the_file_but_not_over_flags() -> None:
    text = (
        'app = "a:a"\nhealth = "/a"\n[apps.1]\napp = "b:b"\n[proxies.1]\nhealth = "/b"\n[balancers.a]\ncheck = "tcp"\n'
    )
    made = plan(text)
    found = (made.hop("app-1").config.app, made.hop("proxy-1").config.health, made.hop("lb-a").config.check)
    assert found == ("b:b", "/b", "tcp")
    made = plan(text, given={"app": "c:c"}, environ={"HOPSTACK_HEALTH": "/c"})
    found = (made.hop("app-1").config.app, made.hop("proxy-1").config.health, made.hop("lb-a").config.check)
    assert found == ("c:c", "/c", "http:/c")


def test_replicas_and_entries_for_some_of_them() -> None:
    made = plan("replicas = 3\n[apps.2]\nworkers = 4\n")
    assert [app.config.workers for app in made.of("appserver")] == [1, 4, 1]
    assert len(made.of("proxy")) == 3
    made = plan("[apps.1]\n[proxies.1]\n", given={"replicas": 2})
    assert len(made.of("proxy")) == len(made.of("appserver")) == 2


def test_an_https_hop_behind_is_verified_by_the_stacks_own_authority() -> None:
    made = plan('[balancers]\n[apps.1]\nlisten = "https://127.0.0.1:9443"\n')
    assert made.hop("proxy-1").config.upstream_ca == made.hop("edge-fra").config.origin_ca == f"{HOME}/ca.pem"
    assert plan().hop("edge-fra").config.origin_ca == ""


def test_routes_are_files_under_a_path(tmp_path: Path) -> None:
    made = plan('[routes.docs]\nprefix = "/docs/"\nstatic = "."\n', directory=tmp_path)
    assert made.hop("proxy-2").config.static == (str(static_directory()), f"/docs/={tmp_path}")


@pytest.mark.parametrize(
    ("on", "where"),
    [
        ("lb-a>proxy-*", {"lb-a"}),
        ("client>edge-fra", {"edge-fra"}),
        ("edge-*>lb-a", {"edge-fra", "edge-nrt"}),
        ("proxy-2", {"proxy-1", "proxy-2", "proxy-3"}),  # each may have a next hop of that name
        ("app-1", {"proxy-1", "proxy-2", "proxy-3"}),
        ("lb-a", {"lb-a", "proxy-1", "proxy-2", "proxy-3"}),
    ],
)
def test_a_fault_goes_to_the_hops_that_it_may_act_in(on: str, where: set[str]) -> None:
    made = plan(f'[faults.slow]\non = "{on}"\nlatency = "200ms"\nshare = 0.2\n')
    texts = {hop.name: hop.config.fault for hop in made.hops if hop.kind != "dns_server" and hop.config.fault}
    assert set(texts) == where
    assert set(texts.values()) == {(f"{on} latency=200ms share=0.2 name=slow",)}


# Zones.


def test_a_zone_takes_further_records_and_a_server() -> None:
    made = plan(
        """
        [zones."shop.test"]
        server = "ns"
        records = ["api 60 IN A 127.0.1.1"]
        [zones."other.example"]
        [dns.ns]
        [dns.top]
        zones = ["test", "example", "."]
        [dns.resolver]
        """
    )
    assert made.hop("dns-ns").files["zones/shop.zone"].endswith("api 60 IN A 127.0.1.1\n")
    assert {text.partition("=")[0] for text in made.hop("dns-top").config.zone} == {".", "test.", "example."}
    root = made.hop("dns-top").files["zones/root.zone"]
    assert "example. IN NS" in root
    assert "test. IN NS" in root
    assert made.hop("dns-ns").config.zone[1].startswith("other.example=")
    assert made.hop("edge-fra").config.server_names[3] == "other.example"
    assert made.hop("resolver").config.root == ("127.0.53.2:5053",)


def test_every_server_of_a_zone_is_named() -> None:
    made = plan(
        """
        [dns.root]
        [dns.tld]
        [dns.ns1]
        zones = ["shop.test"]
        [dns.ns2]
        zones = ["SHOP.test."]
        [dns.resolver]
        """
    )
    zone = made.hop("dns-ns1").files["zones/shop.zone"]
    assert "@ 3600 IN NS ns1\n@ 3600 IN NS ns2\nns1 3600 IN A 127.0.53.3\nns2 3600 IN A 127.0.53.4\n" in zone
    assert made.hop("dns-ns2").files["zones/shop.zone"] == zone
    delegation = "shop.test. IN NS ns1.shop.test.\nshop.test. IN NS ns2.shop.test.\nns1.shop.test. IN A 127.0.53.3\n"
    assert delegation + "ns2.shop.test. IN A 127.0.53.4\n" in made.hop("dns-tld").files["zones/tld.zone"]


def test_a_zone_below_another_is_delegated_by_it() -> None:
    made = plan('[zones."shop.test"]\n[zones."eu.shop.test"]\n')
    assert "eu.shop.test. IN NS ns1.eu.shop.test." in made.hop("dns-shop").files["zones/shop.zone"]
    assert "eu.shop" not in made.hop("dns-tld").files["zones/tld.zone"]


def test_a_zone_from_a_file(tmp_path: Path) -> None:
    zone = "$ORIGIN shop.test.\n@ 60 IN SOA ns h 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 127.0.53.3"
    (tmp_path / "x.zone").write_text(zone)
    text = '[zones."shop.test"]\nfile = "x.zone"\n'
    assert plan(text, directory=tmp_path).hop("dns-shop").config.zone == (f"shop.test={tmp_path / 'x.zone'}",)
    made = plan(text + 'records = ["a 60 IN A 127.0.0.1"]\n', directory=tmp_path)
    assert made.hop("dns-shop").files["zones/shop.zone"].endswith("53.3\na 60 IN A 127.0.0.1\n")
    missing = plan(text, directory=tmp_path / "elsewhere")
    assert ["there is no such file" in problem.text for problem in missing.warnings] == [True]


def test_the_zones_that_are_made_are_such_that_a_server_takes_them(tmp_path: Path) -> None:
    made = make_plan(
        Document.of({"zones": {"a.test": {}, "b.a.test": {"records": ["x 60 IN TXT hi"]}, "c.example": {}}}),
        kinds=registry,
        state_dir=tmp_path,
        environ={},
    )
    build = registry.part("dns_server", "build")
    (tmp_path / "zones").mkdir()
    for hop in made.of("dns_server"):
        for name, text in hop.files.items():
            (tmp_path / name).write_text(text)
        for origin, file in build.zone_files(hop.config).items():
            registry.part("dns_server", "zonefile").load(origin, file)


# Where hops are.


def test_in_containers_hops_are_known_by_other_addresses_than_they_listen_on() -> None:
    made = plan(
        """
        [defaults]
        admin = "http://127.0.0.1:9000"
        trusted = ["172.30.1.0/24"]
        [dns.root]
        listen = "dns://0.0.0.0:53"
        host = "172.30.0.2"
        [dns.tld]
        listen = "dns://0.0.0.0:53"
        host = "172.30.0.3"
        [dns.shop]
        listen = "dns://0.0.0.0:53"
        host = "172.30.0.4"
        [dns.resolver]
        listen = ["dns://0.0.0.0:53", "https://0.0.0.0:8053"]
        host = "172.30.0.5"
        [edges.fra]
        listen = "https://0.0.0.0:8443"
        host = "172.30.0.11"
        cert = "/run/hopstack/cert.pem"
        key = "/run/hopstack/key.pem"
        [balancers.a]
        listen = "http://0.0.0.0:8080"
        host = "lb-a"
        [proxies.1]
        listen = "https://0.0.0.0:8443"
        host = "proxy-1"
        [apps.1]
        listen = "http://0.0.0.0:8080"
        host = "app-1"
        """
    )
    assert made.hop("edge-fra").config.origin == "lb-a=http://lb-a:8080"
    assert made.hop("lb-a").config.backend == ("proxy-1=https://proxy-1:8443",)
    assert made.hop("proxy-1").config.upstream == "app-1=http://app-1:8080"
    assert made.hop("proxy-1").config.server_names == ("localhost", "proxy-1")
    assert {hop.config.source for hop in made.hops if hasattr(hop.config, "source")} == {""}
    assert made.hop("resolver").config.root == ("172.30.0.2:53",)
    assert made.hop("resolver").config.port == 53
    assert "@ IN A 172.30.0.11" in made.hop("dns-shop").files["zones/shop.zone"]
    assert "ns1.shop.test. IN A 172.30.0.4" in made.hop("dns-tld").files["zones/tld.zone"]
    assert {hop.config.trusted for hop in made.hops} == {("172.30.1.0/24",)}


def test_an_explicit_loopback_address_is_also_the_source() -> None:
    made = plan('[edges.fra]\nlisten = ["https://127.0.9.9:4443"]\n')
    assert made.hop("edge-fra").config.source == "127.0.9.9"
    assert made.hop("lb-a").config.trusted == ("127.0.9.9",)
    assert "port=4443" in made.hop("dns-shop").files["zones/shop.zone"]
    made = plan('[edges.fra]\nlisten = ["https://127.0.0.1:4443"]\n', many_addresses=False)
    assert made.hop("edge-fra").config.source == ""
    assert made.hop("lb-a").config.trusted == ("127.0.0.1",)


def test_a_key_that_no_flag_has_is_the_programs_fault() -> None:
    with pytest.raises(TypeError, match="no top-level key is called 'nome'"):
        plan(given={"nome": "x"})
