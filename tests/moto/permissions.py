"""moto checks signatures and policies here: the one action that the README names is enough, and
without it events wait, the state says why, and delivery begins once the permission is there."""

import json
import tempfile

import stage

OPTIONS = """
[upload]
backoff_max = "200ms"
[stream.default]
aggregate = "lines"
linger = "10ms"
"""

# What is allowed before moto begins to check: two users with a key and one policy each, a bucket, a
# delivery stream.
PREPARATIONS = 7

# moto looks at the action alone: a statement for one delivery stream allows nothing there.
PUT = {"Effect": "Allow", "Action": "firehose:PutRecordBatch", "Resource": "*"}


def user(iam, name, statements):
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=policy)
    return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def main():
    with stage.moto(INITIAL_NO_AUTH_ACTION_COUNT=str(PREPARATIONS)) as endpoint:
        iam = stage.client("iam", endpoint)
        host = user(iam, "host", [])
        admin = user(iam, "admin", [{"Effect": "Allow", "Action": "*", "Resource": "*"}])
        stage.client("s3", endpoint).create_bucket(Bucket=stage.BUCKET)
        stage.delivery_stream(endpoint, "orders")

        with tempfile.TemporaryDirectory() as folder:
            forged = {**host, "secret": "forged"}
            with stage.agent(folder, endpoint, OPTIONS, **forged) as agent:
                agent.send("orders", [b"one"])
                denied(agent, "the signature is not right")
            with stage.agent(folder, endpoint, OPTIONS, **host) as agent:
                agent.send("orders", [b"two"])
                denied(agent, "the policy allows nothing")
                policy = json.dumps({"Version": "2012-10-17", "Statement": [PUT]})
                stage.client("iam", endpoint, **admin).put_user_policy(
                    UserName="host", PolicyName="policy", PolicyDocument=policy
                )
                stage.until(
                    "delivery to begin", lambda: agent.stream("orders")["backlog_events"] == 0, agent.process
                )
        found = stage.lies_in_bucket(endpoint, "orders", **admin)
        assert sorted(found.splitlines()) == [b"one", b"two"], found
        print("delivered once the one action was allowed, by the same agent")


def denied(agent, why):
    seen = stage.until(
        "the state to say so",
        lambda: (one := agent.stream("orders")) and one["state"] == "denied" and one,
        agent.process,
    )
    assert seen["backlog_events"] > 0, seen
    print(f"{why}: {seen['state']}, {seen['reason']}")


main()
