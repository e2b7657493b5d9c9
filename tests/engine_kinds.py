"""Real engines of other kinds than engines.py has, each started once, when it is first wanted: Redis Cluster, Sentinel, TLS
with a user of few rights, Memcached with TLS or on a unix socket, Valkey where this machine has it.
"""

import os
import shutil
import ssl
import subprocess
import tempfile

import pytest

from engines import MemcachedServer, RedisServer, free_port, program
from support import LIMIT, until

# What a RedisNode needs of an engine: as docs/cluster.md says it.
RIGHTS = ("-@all +get +mget +set +del +unlink +getrange +setrange +strlen +pexpire +incrby +time +rpush +lrange +eval "
          "+evalsha +info +select +publish +subscribe").split()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(key, certificate) of an engine on this machine, as files."""
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "certificate.pem"
    subprocess.run([program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", made], check=True, capture_output=True)
    key.chmod(0o644)  # Memcached gives up root's rights before it reads it
    folder.chmod(0o755)
    return key, made


@pytest.fixture(scope="session")
def tls_redis_process(certificate):
    """A Redis that speaks TLS on `tls_port`, and knows the user `app`, password `secret`, with the rights that are needed."""
    key, made = certificate
    port = free_port()
    server = RedisServer("--tls-port", str(port), "--tls-cert-file", str(made), "--tls-key-file", str(key),
                         "--tls-ca-cert-file", str(made), "--tls-auth-clients", "no")
    server.tls_port, server.certificate = port, made
    said = server.do("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", *RIGHTS)
    assert said == b"+OK\r\n", said
    yield server
    server.end()


@pytest.fixture
def tls_redis(tls_redis_process):
    tls_redis_process.empty()
    return tls_redis_process


@pytest.fixture(scope="session")
def tls_memcached_process(certificate):
    key, made = certificate
    server = TlsMemcached(made, "-Z", "-o", f"ssl_chain_cert={made},ssl_key={key}")
    yield server
    server.end()


class TlsMemcached(MemcachedServer):
    """Speaks TLS, and nothing else."""

    def __init__(self, made, *options):
        self.tls = ssl.create_default_context(cafile=made)
        super().__init__(*options)

    def plug(self, port=None):
        return self.tls.wrap_socket(super().plug(port), server_hostname="localhost")


@pytest.fixture
def tls_memcached(tls_memcached_process):
    tls_memcached_process.empty()
    return tls_memcached_process


@pytest.fixture(scope="session")
def socket_memcached_process():
    """One that listens on a unix socket only."""
    path = program("memcached")
    folder = tempfile.mkdtemp(prefix="samovar-")
    os.chmod(folder, 0o777)
    where = f"{folder}/memcached.sock"
    process = subprocess.Popen([path, "-s", where, "-a", "777", "-u", "nobody"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    until(lambda: os.path.exists(where))
    yield where
    process.kill()
    process.wait(LIMIT)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_cluster_processes():
    """Three masters of a Redis Cluster."""
    servers = [RedisServer("--cluster-enabled", "yes") for _ in range(3)]
    for at, server in enumerate(servers):
        first, last = at * 16384 // 3, (at + 1) * 16384 // 3 - 1
        server.do("CLUSTER", "ADDSLOTSRANGE", first, last)
        server.do("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        server.do("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
    until(lambda: all(b"cluster_state:ok" in server.do("CLUSTER", "INFO") for server in servers))
    yield servers
    for server in servers:
        server.end()


@pytest.fixture
def redis_cluster(redis_cluster_processes):
    """The same, empty; any of them is the way in."""
    for server in redis_cluster_processes:
        server.empty()
    return redis_cluster_processes


class Valkey(RedisServer):
    """Debian has it from trixie on."""

    program = "valkey-server"


@pytest.fixture(scope="session")
def valkey_process():
    server = Valkey()
    yield server
    server.end()


@pytest.fixture
def valkey(valkey_process):
    valkey_process.empty()
    return valkey_process


class Sentinel(RedisServer):
    """Watches over a master that it calls `shop`, with its replica; decides alone."""

    def __init__(self, master, patience_ms):
        self.master, self.patience_ms = master, patience_ms
        super().__init__()

    def start(self, port=None):
        with open(f"{self.folder}/sentinel.conf", "w") as file:
            file.write(f"sentinel monitor shop 127.0.0.1 {self.master.port} 1\n"
                       f"sentinel down-after-milliseconds shop {self.patience_ms}\nsentinel failover-timeout shop 3000\n")
        path = program("redis-server")
        self.command = lambda self: [path, f"{self.folder}/sentinel.conf", "--sentinel", "--port", str(self.port),
                                     "--bind", "127.0.0.1"]
        super().start(port)


class Watched:
    """A master, its replica and a sentinel, which takes the master for dead when it has said nothing for so long."""

    def __init__(self, patience_ms=60_000):
        self.master = RedisServer("--repl-diskless-sync-delay", "0")
        self.replica = RedisServer("--replicaof", f"127.0.0.1 {self.master.port}")
        until(lambda: b"master_link_status:up" in self.replica.do("INFO", "replication"))
        self.sentinel = Sentinel(self.master, patience_ms)
        until(lambda: b"slaves=1" in self.sentinel.do("INFO", "sentinel"))

    def empty(self):
        self.master.empty()

    def end(self):
        for server in (self.sentinel, self.replica, self.master):
            server.end()


@pytest.fixture(scope="session")
def watched_process():
    made = Watched()
    yield made
    made.end()


@pytest.fixture
def watched(watched_process):
    """A master under a sentinel, that is not to be killed: all share it."""
    watched_process.empty()
    return watched_process
