"""The official Anthropic client at the gateway's /v1/messages: plain, streamed, with tools, with errors, both upstreams."""

import os
import unittest

import anthropic

TOOL = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
MODELS = ("openai", "anthropic", "gemini")
QUESTION = [{"role": "user", "content": "How is the weather in Paris?"}]
TEXT = os.environ["EXPECTED_TEXT"]


def client(key=os.environ["GATEWAY_KEY"]):
    return anthropic.Anthropic(api_key=key, base_url=os.environ["GATEWAY_URL"], max_retries=0, timeout=30)


def for_each_model(test):
    """Runs a test once for each upstream; one that fails does not hide the other."""

    def run(self):
        for model in MODELS:
            with self.subTest(model=model):
                test(self, model)

    return run


class Messages(unittest.TestCase):
    @for_each_model
    def test_plain(self, model):
        message = client().messages.create(model=model, max_tokens=100, messages=QUESTION, system="Be brief.")
        self.assertEqual([block.type for block in message.content], ["text"])
        self.assertEqual(message.content[0].text, TEXT)
        self.assertEqual(message.stop_reason, "end_turn")
        self.assertGreater(message.usage.input_tokens, 0)
        self.assertEqual(message.usage.output_tokens, len(TEXT.split()))

    @for_each_model
    def test_stream(self, model):
        with client().messages.stream(model=model, max_tokens=100, messages=QUESTION) as stream:
            pieces = list(stream.text_stream)
            message = stream.get_final_message()
        self.assertEqual("".join(pieces), TEXT)
        self.assertEqual(len(pieces), len(TEXT.split()))
        self.assertEqual(message.stop_reason, "end_turn")
        self.assertEqual(message.usage.output_tokens, len(TEXT.split()))

    @for_each_model
    def test_tool_use_and_its_result(self, model):
        message = client().messages.create(model=model, max_tokens=100, messages=QUESTION, tools=[TOOL])
        use = message.content[-1]
        self.assertEqual((message.stop_reason, use.type, use.name), ("tool_use", "tool_use", "weather"))
        self.assertEqual(use.input, {"city": "Paris"})
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "rain"}
        assistant = [block.model_dump(exclude_none=True) for block in message.content]
        history = [*QUESTION, {"role": "assistant", "content": assistant}, {"role": "user", "content": [result]}]
        message = client().messages.create(model=model, max_tokens=100, messages=history, tools=[TOOL])
        self.assertEqual(message.content[0].text, TEXT)

    @for_each_model
    def test_streamed_tool_use(self, model):
        with client().messages.stream(model=model, max_tokens=100, messages=QUESTION, tools=[TOOL]) as stream:
            message = stream.get_final_message()
        self.assertEqual(message.content[-1].input, {"city": "Paris"})
        self.assertEqual(message.stop_reason, "tool_use")

    def test_errors_are_the_clients_own_classes(self):
        with self.assertRaises(anthropic.AuthenticationError):
            client("not-a-key-of-this-gateway").messages.create(model="openai", max_tokens=1, messages=QUESTION)
        with self.assertRaises(anthropic.NotFoundError):
            client().messages.create(model="nobody-offers-this", max_tokens=1, messages=QUESTION)

    @for_each_model
    def test_an_upstreams_refusal_keeps_its_class_and_words(self, model):
        refused = [{"role": "user", "content": "please refuse"}]
        with self.assertRaises(anthropic.RateLimitError) as caught:
            client().messages.create(model=model, max_tokens=1, messages=refused)
        self.assertIn("slow down a little", str(caught.exception))
        self.assertEqual(caught.exception.body["type"], "error")


if __name__ == "__main__":
    unittest.main()
