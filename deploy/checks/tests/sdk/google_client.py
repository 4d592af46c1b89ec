"""The official Google client through the gateway: plain, streamed, with tools, with errors, against upstreams of three dialects."""

import asyncio
import base64
import functools
import os
import unittest

from google import genai
from google.genai import errors, types

MODELS = ("openai", "anthropic", "gemini")
QUESTION = "How is the weather in Paris?"
TEXT = os.environ["EXPECTED_TEXT"]
N_WORDS = len(TEXT.split())
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="The weather in a city",
            parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]),
        )
    ]
)
PICTURE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def new_client(key=os.environ["GATEWAY_KEY"]):
    options = types.HttpOptions(base_url=os.environ["GATEWAY_URL"], timeout=30_000)
    return genai.Client(api_key=key, http_options=options)


# A client that nobody holds closes its connections, also under a stream.
client = functools.cache(new_client)


def for_each_model(test):
    """Runs a test once for each upstream; one that fails does not hide the other."""

    def run(self):
        for model in MODELS:
            with self.subTest(model=model):
                test(self, model)

    return run


class GenerateContent(unittest.TestCase):
    @for_each_model
    def test_plain(self, model):
        config = types.GenerateContentConfig(system_instruction="Be terse.", max_output_tokens=100, temperature=0.5)
        reply = client().models.generate_content(model=model, contents=QUESTION, config=config)
        self.assertEqual(reply.text, TEXT)
        self.assertEqual(reply.candidates[0].finish_reason, types.FinishReason.STOP)
        self.assertGreater(reply.usage_metadata.prompt_token_count, 0)
        self.assertEqual(reply.usage_metadata.candidates_token_count, N_WORDS)

    @for_each_model
    def test_stream_gets_several_chunks(self, model):
        chunks = list(client().models.generate_content_stream(model=model, contents=QUESTION))
        self.assertEqual("".join(chunk.text or "" for chunk in chunks), TEXT)
        self.assertGreaterEqual(len(chunks), N_WORDS)
        finishes = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates[0].finish_reason]
        self.assertEqual(finishes, [types.FinishReason.STOP])
        self.assertEqual(chunks[-1].usage_metadata.candidates_token_count, N_WORDS)

    @for_each_model
    def test_async(self, model):
        async def ask():
            google = new_client()
            reply = await google.aio.models.generate_content(model=model, contents=QUESTION)
            stream = await google.aio.models.generate_content_stream(model=model, contents=QUESTION)
            return reply.text, "".join([chunk.text or "" async for chunk in stream])

        self.assertEqual(asyncio.run(ask()), (TEXT, TEXT))

    @for_each_model
    def test_a_call_and_its_result(self, model):
        """The scripted Gemini refuses a second turn that lacks its signature."""
        config = types.GenerateContentConfig(tools=[WEATHER])
        question = types.Content(role="user", parts=[types.Part(text=QUESTION)])
        for streamed in (False, True):
            if streamed:
                chunks = client().models.generate_content_stream(model=model, contents=[question], config=config)
                turns = [chunk.candidates[0].content for chunk in chunks]
            else:
                reply = client().models.generate_content(model=model, contents=[question], config=config)
                turns = [reply.candidates[0].content]
            calls = [part.function_call for turn in turns for part in turn.parts if part.function_call]
            self.assertEqual([(call.name, call.args) for call in calls], [("weather", {"city": "Paris"})])
            for call_id in (calls[0].id, None):
                result = types.FunctionResponse(id=call_id, name="weather", response={"output": "rain"})
                answer = types.Content(role="user", parts=[types.Part(function_response=result)])
                reply = client().models.generate_content(model=model, contents=[question, *turns, answer], config=config)
                self.assertEqual(reply.text, TEXT)

    @for_each_model
    def test_functions_of_python_are_called_by_the_client(self, model):
        cities = []

        def weather(city: str) -> str:
            """The weather in a city."""
            cities.append(city)
            return "rain"

        config = types.GenerateContentConfig(tools=[weather])
        reply = client().models.generate_content(model=model, contents=QUESTION, config=config)
        self.assertEqual((reply.text, cities), (TEXT, ["Paris"]))

    @for_each_model
    def test_a_chat_keeps_its_streamed_turns(self, model):
        chat = client().chats.create(model=model)
        for _ in range(2):
            self.assertEqual("".join(chunk.text or "" for chunk in chat.send_message_stream(QUESTION)), TEXT)
        self.assertEqual(chat.get_history(curated=True), chat.get_history())
        self.assertEqual(chat.send_message(QUESTION).text, TEXT)

    @for_each_model
    def test_pictures_schemas_and_thinking_are_carried(self, model):
        """The scripted upstreams answer `seen` only where the request holds all three in their own words."""
        config = types.GenerateContentConfig(
            response_mime_type="application/json",
            response_schema={"type": "OBJECT", "properties": {"marker_of_schema": {"type": "STRING"}}},
            thinking_config=types.ThinkingConfig(thinking_budget=2048),
            max_output_tokens=4096,
        )
        contents = [types.Part.from_bytes(data=PICTURE, mime_type="image/png"), "please check"]
        reply = client().models.generate_content(model=model, contents=contents, config=config)
        self.assertEqual(reply.parsed or reply.text, "seen")

    def test_thoughts_are_parts_of_their_own(self):
        config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
        parts = []
        for chunk in client().models.generate_content_stream(model="anthropic", contents="please think", config=config):
            parts.extend(chunk.candidates[0].content.parts)
        self.assertEqual("".join(part.text for part in parts if part.thought), "hm, well")
        self.assertEqual("".join(part.text for part in parts if not part.thought), TEXT)
        history = [
            types.Content(role="user", parts=[types.Part(text="please think")]),
            *(types.Content(role="model", parts=[part]) for part in parts),
            types.Content(role="user", parts=[types.Part(text="please remember")]),
        ]
        reply = client().models.generate_content(model="anthropic", contents=history, config=config)
        self.assertEqual(reply.text, "remembered")

    @for_each_model
    def test_count_tokens(self, model):
        self.assertGreater(client().models.count_tokens(model=model, contents=QUESTION).total_tokens, 0)


class EmbedContent(unittest.TestCase):
    def test_vectors(self):
        # The client makes one content of several texts where a model has a name like Google's newest.
        for model, vectors in ("openai", [[0.5, 0.25], [0.25, 0.5]]), ("gemini", [[0.5, 0.25]]):
            with self.subTest(model=model):
                config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=2)
                reply = client().models.embed_content(model=model, contents=["please embed", "me, too"], config=config)
                self.assertEqual([vector.values for vector in reply.embeddings], vectors)


class Models(unittest.TestCase):
    def test_list_pages(self):
        for page in (1, 2, 50):
            listed = [model.name for model in client().models.list(config={"page_size": page})]
            self.assertEqual(sorted(listed), sorted(f"models/{model}" for model in MODELS))

    @for_each_model
    def test_get(self, model):
        for name in (model, f"models/{model}"):
            got = client().models.get(model=name)
            self.assertEqual(got.name, f"models/{model}")
            self.assertIn("generateContent", got.supported_actions)

    def test_get_of_nobodys(self):
        with self.assertRaises(errors.ClientError) as caught:
            client().models.get(model="nobody-offers-this")
        self.assertEqual(caught.exception.code, 404)


class Errors(unittest.TestCase):
    def check(self, code, status, model, contents=QUESTION, key=os.environ["GATEWAY_KEY"]):
        with self.assertRaises(errors.APIError) as caught:
            client(key).models.generate_content(model=model, contents=contents)
        self.assertEqual((caught.exception.code, caught.exception.status), (code, status))
        return caught.exception.message

    def test_of_the_gateway(self):
        self.check(401, "UNAUTHENTICATED", "openai", key="not-a-key-of-this-gateway")
        self.check(404, "NOT_FOUND", "nobody-offers-this")
        self.check(400, "INVALID_ARGUMENT", "anthropic", contents=[types.Content(role="system", parts=[types.Part(text="x")])])

    @for_each_model
    def test_an_upstreams_refusal_keeps_its_status_and_words(self, model):
        message = self.check(429, "RESOURCE_EXHAUSTED", model, contents="please refuse")
        self.assertIn("slow down a little", message)

    @for_each_model
    def test_a_cut_stream_raises(self, model):
        seen = []
        with self.assertRaises(errors.APIError):
            for chunk in client().models.generate_content_stream(model=model, contents="please break off"):
                seen.append(chunk)
        self.assertGreater(len(seen), 0)
        self.assertTrue(all(chunk.candidates[0].finish_reason is None for chunk in seen))


if __name__ == "__main__":
    unittest.main()
