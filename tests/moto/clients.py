"""Clients that nobody here wrote at the agent's own Firehose door: boto3 and the aws command line."""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import stage

OPTIONS = """
[stream.default]
linger = "50ms"
"""


def main():
    with stage.moto() as endpoint, tempfile.TemporaryDirectory() as folder:
        stage.client("s3", endpoint).create_bucket(Bucket=stage.BUCKET)
        for name in ["boto", "cli"]:
            stage.delivery_stream(endpoint, name)
        with stage.agent(folder, endpoint, OPTIONS) as agent:
            records = boto(agent.door)
            spoken = command_line(agent.door)
            agent.drain()
        # Records are not given a delimiter, so only as a whole can they be told apart.
        found = stage.lies_in_bucket(endpoint, "boto")
        assert sorted(found) == sorted(b"".join(records)), "boto3: bytes were lost or altered"
        assert all(record in found for record in records), "boto3: a record was taken apart"
        assert stage.lies_in_bucket(endpoint, "cli") == spoken
        print(f"boto3: {len(records)} records, aws: 1 record, byte for byte")


def boto(door):
    firehose = stage.client("firehose", door)
    chance = random.Random(5)
    records = [chance.randbytes(chance.choice([1, 100, 4_000])) for _ in range(1_200)]
    names = set()
    for start in range(0, len(records), 500):
        batch = [{"Data": data} for data in records[start : start + 500]]
        answer = firehose.put_record_batch(DeliveryStreamName="boto", Records=batch)
        assert answer["FailedPutCount"] == 0, answer
        names |= {entry["RecordId"] for entry in answer["RequestResponses"]}
    answer = firehose.put_record(DeliveryStreamName="boto", Record={"Data": b"alone"})
    names.add(answer["RecordId"])
    records.append(b"alone")
    assert len(names) == len(records), "two records have one name"
    for wrong in [[], [{"Data": b"x"}] * 501, [{"Data": bytes(1_024_001)}]]:
        try:
            firehose.put_record_batch(DeliveryStreamName="boto", Records=wrong)
        except Exception as refusal:  # noqa: BLE001 (what is refused here, or already by boto3)
            print(f"boto3, {len(wrong)} records: {type(refusal).__name__}")
        else:
            raise AssertionError("a call over the limits was taken")
    described = firehose.describe_delivery_stream(DeliveryStreamName="boto")
    assert described["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE"
    return records


def command_line(door):
    aws = pathlib.Path(sys.executable).parent / "aws"
    spoken = "spoken by the command line: größer".encode()
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with tempfile.NamedTemporaryFile() as file:
        file.write(json.dumps({"Data": spoken.decode()}).encode())
        file.flush()
        words = ["firehose", "put-record", "--delivery-stream-name", "cli", "--record", f"file://{file.name}"]
        words += ["--endpoint-url", door, "--region", stage.REGION]
        answer = json.loads(subprocess.run([aws, *words], env=environment, check=True, capture_output=True).stdout)
    assert answer["RecordId"], answer
    return spoken


main()
