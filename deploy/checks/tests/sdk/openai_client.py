"""The official OpenAI client through the gateway: plain, streamed, with tools, with errors, against both upstreams."""

import os
import unittest

import openai

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
MODELS = ("openai", "anthropic", "gemini")
QUESTION = [{"role": "user", "content": "How is the weather in Paris?"}]
TEXT = os.environ["EXPECTED_TEXT"]


def client(key=os.environ["GATEWAY_KEY"]):
    return openai.OpenAI(api_key=key, base_url=os.environ["GATEWAY_URL"] + "/v1", max_retries=0, timeout=30)


def for_each_model(test):
    """Runs a test once for each upstream; one that fails does not hide the other."""

    def run(self):
        for model in MODELS:
            with self.subTest(model=model):
                test(self, model)

    return run


class ChatCompletions(unittest.TestCase):
    @for_each_model
    def test_plain(self, model):
        reply = client().chat.completions.create(model=model, messages=QUESTION, max_tokens=100)
        self.assertEqual(reply.choices[0].message.content, TEXT)
        self.assertEqual(reply.choices[0].finish_reason, "stop")
        self.assertGreater(reply.usage.prompt_tokens, 0)
        self.assertEqual(reply.usage.completion_tokens, len(TEXT.split()))

    @for_each_model
    def test_stream(self, model):
        options = {"include_usage": True}
        stream = client().chat.completions.create(model=model, messages=QUESTION, stream=True, stream_options=options)
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
        self.assertEqual(text, TEXT)
        self.assertEqual(finishes, ["stop"])
        self.assertGreater(len([chunk for chunk in chunks if chunk.choices]), len(TEXT.split()))
        self.assertEqual(chunks[-1].usage.completion_tokens, len(TEXT.split()))

    @for_each_model
    def test_stream_without_usage_has_no_usage_chunk(self, model):
        chunks = list(client().chat.completions.create(model=model, messages=QUESTION, stream=True))
        self.assertTrue(all(chunk.choices for chunk in chunks))

    @for_each_model
    def test_tool_call_and_its_result(self, model):
        reply = client().chat.completions.create(model=model, messages=QUESTION, tools=[TOOL])
        message = reply.choices[0].message
        self.assertEqual(reply.choices[0].finish_reason, "tool_calls")
        self.assertEqual(message.tool_calls[0].function.name, "weather")
        self.assertEqual(message.tool_calls[0].function.arguments.replace(" ", ""), '{"city":"Paris"}')
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}
        history = [*QUESTION, message.model_dump(exclude_none=True), result]
        reply = client().chat.completions.create(model=model, messages=history, tools=[TOOL])
        self.assertEqual(reply.choices[0].message.content, TEXT)

    @for_each_model
    def test_streamed_tool_call(self, model):
        name, arguments, finish = "", "", None
        stream = client().chat.completions.create(model=model, messages=QUESTION, tools=[TOOL], stream=True)
        for chunk in stream:
            for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
            if chunk.choices and chunk.choices[0].finish_reason:
                finish = chunk.choices[0].finish_reason
        self.assertEqual((name, arguments, finish), ("weather", '{"city":"Paris"}', "tool_calls"))

    def test_errors_are_the_clients_own_classes(self):
        with self.assertRaises(openai.AuthenticationError):
            client("not-a-key-of-this-gateway").chat.completions.create(model="openai", messages=QUESTION)
        with self.assertRaises(openai.NotFoundError):
            client().chat.completions.create(model="nobody-offers-this", messages=QUESTION)
        with self.assertRaises(openai.BadRequestError):
            client().chat.completions.create(model="anthropic", messages="not a list")

    @for_each_model
    def test_an_upstreams_refusal_keeps_its_class_and_words(self, model):
        refused = [{"role": "user", "content": "please refuse"}]
        with self.assertRaises(openai.RateLimitError) as caught:
            client().chat.completions.create(model=model, messages=refused)
        self.assertIn("slow down a little", str(caught.exception))

    def test_models(self):
        self.assertEqual(sorted(model.id for model in client().models.list()), sorted(MODELS))


if __name__ == "__main__":
    unittest.main()
