"""Lines through the agent and moto's Firehose into moto's S3: what lies there is what was acknowledged."""

import collections
import gzip
import random
import tempfile

import stage

OPTIONS = """
[upload]
ask_within = "1ms"
[stream.default]
linger = "50ms"
[stream.packed]
aggregate = "lines"
[stream.zipped]
aggregate = "lines"
compression = "gzip"
[stream.single]
aggregate = "none"
[stream.asked]
aggregate = "auto"
"""


def payloads(seed, count):
    """Lines of any bytes but the terminator, of very different lengths."""
    chance = random.Random(seed)
    for _ in range(count):
        length = chance.choice([1, 30, 200, 3_000]) if chance.random() < 0.999 else 900_000
        yield chance.randbytes(length).replace(b"\n", b" ")


def main():
    with stage.moto() as endpoint, tempfile.TemporaryDirectory() as folder:
        stage.client("s3", endpoint).create_bucket(Bucket=stage.BUCKET)
        sent = {}
        for seed, (name, count) in enumerate({"packed": 20_000, "zipped": 5_000, "single": 1_500, "asked": 5_000}.items()):
            stage.delivery_stream(endpoint, name)
            sent[name] = list(payloads(seed, count))
        with stage.agent(folder, endpoint, OPTIONS) as agent:
            for name, lines in sent.items():
                agent.send(name, lines)
            agent.drain()
        for name, lines in sent.items():
            found = stage.lies_in_bucket(endpoint, name)
            if name == "zipped":
                found = gzip.decompress(found)
            assert found.endswith(b"\n"), f"{name}: the last event is not ended"
            # Several calls are under way at once, so the order is not promised.
            found = collections.Counter(found.removesuffix(b"\n").split(b"\n"))
            assert found == collections.Counter(lines), f"{name}: what lies in the bucket is not what was sent"
            print(f"{name}: {len(lines)} events lie in the bucket, byte for byte")


main()
