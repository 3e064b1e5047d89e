"""What the tests against moto have in common: moto, an agent, and what lies in the bucket.

Everything listens on loopback addresses and ends with the test. Waiting is looking again until the
thing is there; a process that ends meanwhile ends the wait.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import boto3

AGENT = pathlib.Path("target/debug/standpipe").resolve()
BUCKET = "delivered"
REGION = "us-east-1"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, look, process):
    """Looks until it sees something true, and returns that."""
    while not (seen := look()):
        assert process.poll() is None, f"{process.args[0]} ended while waiting for {what}"
        time.sleep(0.02)
    return seen


@contextlib.contextmanager
def ended(process):
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def moto(**environment):
    """A moto server; gives its address. Variables set what it enforces."""
    port = free_port()
    command = [str(pathlib.Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        with ended(server):
            until("moto to listen", listens, server)
            yield f"http://127.0.0.1:{port}"


def client(service, endpoint, key="test", secret="test"):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret
    )


def delivery_stream(endpoint, name):
    """A delivery stream into the bucket, below a folder of its own name."""
    client("firehose", endpoint).create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/delivery",
            "BucketARN": f"arn:aws:s3:::{BUCKET}",
            "Prefix": f"{name}/",
        },
    )


def lies_in_bucket(endpoint, name, **credentials):
    """The objects of a delivery stream, joined in the order of their names."""
    s3 = client("s3", endpoint, **credentials)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
    keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))
    return b"".join(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys)


class Agent:
    """A running agent with a Unix socket, a Firehose door, and a configuration of the test's."""

    def __init__(self, folder, process, door):
        self.folder, self.process, self.door = folder, process, door

    def command(self, *words, **options):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STANDPIPE_")}
        words = [AGENT, *words, "--config", self.folder / "standpipe.toml"]
        return subprocess.run(words, env=environment, capture_output=True, **options)

    def send(self, stream, lines):
        """Sends lines in acknowledged mode, and returns when the last one is durable."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "in.sock"))
            answers = connection.makefile("rb")
            connection.sendall(b"STANDPIPE/2 ack=durable\n")
            assert answers.readline().startswith(b"OK ")
            connection.sendall(b"".join(b"%s %s\n" % (stream.encode(), line) for line in lines))
            acknowledged = 0
            while acknowledged < len(lines):
                word, number = answers.readline().split()[:2]
                assert word == b"ACK", (word, number)
                acknowledged = int(number)

    def drain(self):
        drained = self.command("drain")
        assert drained.returncode == 0, drained.stderr.decode()

    def stream(self, name):
        """What `wal stat` says of a stream."""
        seen = json.loads(self.command("wal", "stat", "--json", check=True).stdout)
        return next((one for one in seen["streams"] if one["stream"] == name), None)


@contextlib.contextmanager
def agent(folder, endpoint, options, key="test", secret="test"):
    folder = pathlib.Path(folder)
    (folder / "standpipe.toml").write_text(
        f"""data_dir = "{folder}/data"
[[source]]
kind = "unix"
path = "{folder}/in.sock"
[[source]]
kind = "firehose"
listen = "127.0.0.1:0"
[sink.firehose]
kind = "firehose"
region = "{REGION}"
endpoint_url = "{endpoint}"
{options}"""
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("STANDPIPE_", "AWS_"))}
    environment |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    process = subprocess.Popen(
        [AGENT, "run", "--log", "warn", "--config", folder / "standpipe.toml"],
        env=environment, stdout=subprocess.PIPE, text=True,
    )
    with ended(process):
        addresses = [process.stdout.readline().removeprefix("listening on ").strip() for _ in range(2)]
        assert all(addresses), "the agent did not start"
        yield Agent(folder, process, addresses[1])
    assert process.returncode == 0, process.returncode
