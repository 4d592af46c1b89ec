"""The official Anthropic client: every resource that applies. What the gateway does not translate is asked of the provider's account
through `/proxy/<provider>`."""

import os
import unittest

import anthropic
from anthropic import types
from anthropic.types import messages

URL = os.environ["GATEWAY_URL"]
TEXT = os.environ["EXPECTED_TEXT"]
QUESTION = [{"role": "user", "content": "How is the weather in Paris?"}]
MODELS = ["native", "spoken", "team/large", "translated"]


def client(path="", key="GATEWAY_KEY"):
    return anthropic.Anthropic(api_key=os.environ[key], base_url=URL + path, max_retries=0, timeout=30)


GATEWAY, ACCOUNT = client(), client("/proxy/a")


def checked(result, kind):
    """The client builds its objects without looking: here every field must be there and of its type."""
    return kind.model_validate(result.model_dump(by_alias=True, warnings=False))


class Resources(unittest.TestCase):
    def test_messages_whole_streamed_and_raw(self):
        for model in ("translated", "native"):
            with self.subTest(model=model):
                asked = {"model": model, "max_tokens": 50, "messages": QUESTION}
                message = GATEWAY.messages.create(**asked)
                self.assertEqual(checked(message, types.Message).content[0].text, TEXT)
                events = list(GATEWAY.messages.create(**asked, stream=True))
                kinds = [event.type for event in events]
                self.assertEqual((kinds[0], kinds[-1]), ("message_start", "message_stop"))
                raw = GATEWAY.messages.with_raw_response.create(**asked)
                self.assertTrue(raw.headers["request-id"] == raw.headers["x-request-id"] == raw.parse()._request_id)

    def test_count_tokens(self):
        for model, expected in (("translated", 31), ("native", None)):
            with self.subTest(model=model):
                counted = checked(GATEWAY.messages.count_tokens(model=model, messages=QUESTION), types.MessageTokensCount)
                self.assertTrue(counted.input_tokens == expected if expected else counted.input_tokens > 0)

    def test_models(self):
        for page in (1, 3, 100):
            listed = [checked(model, types.ModelInfo).id for model in GATEWAY.models.list(limit=page)]
            self.assertEqual(sorted(listed), MODELS)
        self.assertEqual(GATEWAY.models.retrieve("team/large").id, "team/large")
        self.assertRaises(anthropic.NotFoundError, GATEWAY.models.retrieve, "nobody/has-this")

    def test_batches_of_the_account(self):
        request = {"custom_id": "one", "params": {"model": "x", "max_tokens": 5, "messages": QUESTION}}
        batches = ACCOUNT.messages.batches
        made = checked(batches.create(requests=[request]), messages.MessageBatch)
        self.assertEqual(batches.retrieve(made.id).processing_status, "ended")
        self.assertEqual([batch.id for batch in batches.list(limit=5)], [made.id])
        self.assertEqual(batches.cancel(made.id).processing_status, "canceling")
        self.assertEqual(batches.delete(made.id).type, "message_batch_deleted")
        refused = client("/proxy/a", "GATEWAY_PLAIN_KEY")
        self.assertRaises(anthropic.PermissionDeniedError, refused.messages.batches.list)

    def test_an_accounts_messages(self):
        message = ACCOUNT.messages.create(model="x", max_tokens=5, messages=QUESTION)
        self.assertEqual(message.content[0].text, TEXT)
        with ACCOUNT.messages.stream(model="x", max_tokens=5, messages=QUESTION) as stream:
            self.assertEqual("".join(stream.text_stream), TEXT)


if __name__ == "__main__":
    unittest.main()
