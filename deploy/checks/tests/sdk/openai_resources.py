"""The official OpenAI client through the gateway: every resource that applies, with typed results."""

import base64
import contextlib
import functools
import io
import os
import unittest

import openai
import pydantic
from openai import types
from openai.types import audio, chat, images_response, responses

URL = os.environ["GATEWAY_URL"] + "/v1"
TEXT = os.environ["EXPECTED_TEXT"]
WORDS = TEXT.split(" ")
QUESTION = [{"role": "user", "content": "How is the weather in Paris?"}]
# One upstream has the whole API itself, the other's language is another.
NATIVE, BOTH = ("native",), ("native", "translated")
SOUND = bytes(at % 256 for at in range(200_000))


IS_HTTP2 = os.environ["HTTP_VERSION"] == "2"


def client(key):
    connections = openai.DefaultHttpxClient(http1=not IS_HTTP2, http2=IS_HTTP2)
    return openai.OpenAI(api_key=os.environ[key], base_url=URL, max_retries=0, timeout=30, http_client=connections)


OWNER, PLAIN = client("GATEWAY_KEY"), client("GATEWAY_PLAIN_KEY")


@contextlib.contextmanager
def opened(connect):
    """A WebSocket of the client. It reads on one thread while it writes on another, and Python's `ssl` then sometimes loses what
    it reads: over TLS one handshake in a thousand has no answer, from any server. Two in a row are ours."""
    waits = {"open_timeout": 5}
    manager = connect(websocket_connection_options=waits)
    try:
        connection = manager.__enter__()
    except TimeoutError:
        manager = connect(websocket_connection_options=waits)
        connection = manager.__enter__()
    try:
        yield connection
    finally:
        manager.__exit__(None, None, None)


def recording():
    return ("a.wav", b"RIFF" + bytes(5000), "audio/wav")


def picture(name="a.png"):
    return (name, base64.b64decode("iVBORw0KGgo=") + bytes(3000), "image/png")


class Weather(pydantic.BaseModel):
    city: str
    rain: bool


def checked(test, result, kind):
    """The client builds its objects without looking: here every field must be there and of its type."""
    test.assertIsInstance(result, kind)
    return kind.model_validate(result.model_dump(by_alias=True, warnings=False))


# name · models · the call · the type of its result · what of it is looked at · what that must be
WHOLE = [
    (
        "chat.completions.create",
        BOTH,
        lambda model: OWNER.chat.completions.create(model=model, messages=QUESTION, max_tokens=50),
        chat.ChatCompletion,
        lambda reply: (reply.choices[0].message.content, reply.choices[0].finish_reason),
        (TEXT, "stop"),
    ),
    (
        "completions.create",
        NATIVE,
        lambda model: OWNER.completions.create(model=model, prompt="Say hello."),
        types.Completion,
        lambda reply: (reply.choices[0].text, reply.usage.total_tokens),
        (TEXT, 8),
    ),
    (
        "embeddings.create, in base64",
        NATIVE,
        lambda model: OWNER.embeddings.create(model=model, input=["a", "b"]),
        types.CreateEmbeddingResponse,
        lambda reply: ([entry.embedding for entry in reply.data], reply.usage.total_tokens),
        ([[0.5, -1.0, 2.0]] * 2, 4),
    ),
    (
        "embeddings.create, as floats",
        NATIVE,
        lambda model: OWNER.embeddings.create(model=model, input="a", encoding_format="float", dimensions=3),
        types.CreateEmbeddingResponse,
        lambda reply: reply.data[0].embedding,
        [0.5, -1.0, 2.0],
    ),
    (
        "moderations.create",
        NATIVE,
        lambda model: OWNER.moderations.create(model=model, input="a"),
        types.ModerationCreateResponse,
        lambda reply: (reply.results[0].flagged, reply.results[0].category_scores.hate_threatening),
        (True, 0.5),
    ),
    (
        "responses.create",
        BOTH,
        lambda model: OWNER.responses.create(model=model, input="How is the weather?"),
        responses.Response,
        lambda reply: (reply.output_text, reply.status),
        (TEXT, "completed"),
    ),
    (
        "responses.input_tokens.count",
        NATIVE,
        lambda model: OWNER.responses.input_tokens.count(model=model, input="How is the weather?"),
        responses.InputTokenCountResponse,
        lambda reply: reply.input_tokens,
        11,
    ),
    (
        "images.generate",
        NATIVE,
        lambda model: OWNER.images.generate(model=model, prompt="a cat", size="1024x1024"),
        images_response.ImagesResponse,
        lambda reply: (base64.b64decode(reply.data[0].b64_json), reply.usage.output_tokens),
        (b"hello", 272),
    ),
    (
        "images.edit",
        NATIVE,
        lambda model: OWNER.images.edit(model=model, prompt="a hat", image=[picture(), picture("b.png")], mask=picture()),
        images_response.ImagesResponse,
        lambda reply: reply.usage.input_tokens_details.image_tokens,
        4,
    ),
    (
        "images.create_variation",
        NATIVE,
        lambda model: OWNER.images.create_variation(model=model, image=picture()),
        images_response.ImagesResponse,
        lambda reply: reply.data[0].b64_json,
        "aGVsbG8=",
    ),
    (
        "audio.translations.create",
        NATIVE,
        lambda model: OWNER.audio.translations.create(model=model, file=recording()),
        audio.Translation,
        lambda reply: reply.text,
        TEXT,
    ),
    (
        "audio.translations.create, verbose",
        NATIVE,
        lambda model: OWNER.audio.translations.create(model=model, file=recording(), response_format="verbose_json"),
        audio.TranslationVerbose,
        lambda reply: (reply.text, reply.segments[0].end),
        (TEXT, 2.5),
    ),
    (
        "audio.transcriptions.create",
        NATIVE,
        lambda model: OWNER.audio.transcriptions.create(model=model, file=recording(), language="en"),
        audio.Transcription,
        lambda reply: (reply.text, reply.usage.total_tokens),
        (TEXT, 46),
    ),
    (
        "audio.transcriptions.create, verbose",
        NATIVE,
        lambda model: OWNER.audio.transcriptions.create(
            model=model, file=recording(), response_format="verbose_json", timestamp_granularities=["segment"]
        ),
        audio.TranscriptionVerbose,
        lambda reply: (reply.duration, reply.segments[0].tokens),
        (2.5, [1, 2]),
    ),
    (
        "audio.transcriptions.create, diarized",
        NATIVE,
        lambda model: OWNER.audio.transcriptions.create(model=model, file=recording(), response_format="diarized_json"),
        audio.TranscriptionDiarized,
        lambda reply: reply.segments[0].speaker,
        "A",
    ),
    (
        "uploads",
        NATIVE,
        lambda _: OWNER.uploads.create(bytes=5, filename="a", mime_type="text/plain", purpose="batch"),
        types.Upload,
        lambda reply: (
            OWNER.uploads.parts.create(reply.id, data=b"hello").id,
            OWNER.uploads.complete(reply.id, part_ids=["part_1"]).status,
        ),
        ("part_1", "completed"),
    ),
    (
        "vector_stores",
        NATIVE,
        lambda _: OWNER.vector_stores.create(name="n"),
        types.VectorStore,
        lambda reply: (
            OWNER.vector_stores.retrieve(reply.id).file_counts.completed,
            [store.id for store in OWNER.vector_stores.list()],
            OWNER.vector_stores.delete(reply.id).deleted,
        ),
        (1, ["vs_1"], True),
    ),
]


def deltas(kind):
    return lambda events: "".join(event.delta for event in events if event.type == kind)


def kinds(events):
    return [event.type for event in events]


# name · models · the call that streams · what of its events is looked at · what that must be
STREAMED = [
    (
        "chat.completions.create",
        BOTH,
        lambda model: OWNER.chat.completions.create(model=model, messages=QUESTION, stream=True),
        lambda chunks: "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        TEXT,
    ),
    (
        "completions.create",
        NATIVE,
        lambda model: OWNER.completions.create(model=model, prompt="a", stream=True),
        lambda chunks: "".join(chunk.choices[0].text for chunk in chunks if chunk.choices),
        TEXT,
    ),
    (
        "responses.create",
        BOTH,
        lambda model: OWNER.responses.create(model=model, input="a", stream=True),
        lambda events: (
            deltas("response.output_text.delta")(events),
            events[-1].response.output_text,
            [event.sequence_number for event in events] == list(range(len(events))),
        ),
        (TEXT, TEXT, True),
    ),
    (
        "images.generate",
        NATIVE,
        lambda model: OWNER.images.generate(model=model, prompt="a", stream=True, partial_images=2),
        lambda events: (kinds(events), events[-1].usage.total_tokens),
        (["image_generation.partial_image"] * 2 + ["image_generation.completed"], 286),
    ),
    (
        "images.edit",
        NATIVE,
        lambda model: OWNER.images.edit(model=model, prompt="a", image=picture(), stream=True, partial_images=2),
        lambda events: (kinds(events), events[1].partial_image_index),
        (["image_edit.partial_image"] * 2 + ["image_edit.completed"], 1),
    ),
    (
        "audio.transcriptions.create",
        NATIVE,
        lambda model: OWNER.audio.transcriptions.create(model=model, file=recording(), stream=True),
        lambda events: (deltas("transcript.text.delta")(events), events[-1].text, events[-1].usage.output_tokens),
        (TEXT, TEXT, 9),
    ),
]


class Resources(unittest.TestCase):
    def test_whole_replies_are_of_their_type(self):
        for name, models, call, kind, look, expected in WHOLE:
            for model in models:
                with self.subTest(call=name, model=model):
                    reply = call(model)
                    checked(self, reply, kind)
                    self.assertEqual(look(reply), expected)

    def test_streams_come_event_by_event(self):
        for name, models, call, look, expected in STREAMED:
            for model in models:
                with self.subTest(call=name, model=model):
                    events = list(call(model))
                    self.assertGreater(len(events), 2)
                    self.assertEqual(look(events), expected)

    def test_chat_parses_into_a_class(self):
        reply = OWNER.chat.completions.parse(model="native", messages=QUESTION, response_format=Weather)
        self.assertEqual(reply.choices[0].message.parsed, Weather(city="Paris", rain=True))
        with OWNER.chat.completions.stream(model="native", messages=QUESTION, response_format=Weather) as stream:
            self.assertEqual(stream.get_final_completion().choices[0].message.parsed, Weather(city="Paris", rain=True))

    def test_chat_calls_a_tool(self):
        tool = openai.pydantic_function_tool(Weather, name="weather")
        for model in BOTH:
            with self.subTest(model=model):
                reply = OWNER.chat.completions.create(model=model, messages=QUESTION, tools=[tool])
                self.assertEqual(reply.choices[0].message.tool_calls[0].function.name, "weather")

    def test_responses_of_one_model_are_gone_on_from_and_taken_away(self):
        for model, key in (("native", OWNER), ("translated", OWNER), ("translated", PLAIN), ("native", PLAIN)):
            with self.subTest(model=model, key=key.api_key[:9]):
                made = key.responses.create(model=model, input="How is the weather?", store=True)
                self.assertEqual(key.responses.retrieve(made.id).output_text, TEXT)
                items = list(key.responses.input_items.list(made.id))
                self.assertEqual(items[0].content[0].text, "How is the weather?")
                following = key.responses.create(model=model, input="And now?", previous_response_id=made.id)
                self.assertEqual(following.output_text, TEXT)
                if model == "native":
                    self.assertEqual(key.responses.cancel(made.id).status, "cancelled")
                else:
                    # What is over cannot be cancelled.
                    self.assertRaises(openai.BadRequestError, key.responses.cancel, made.id)
                key.responses.delete(made.id)
                self.assertRaises(openai.NotFoundError, key.responses.retrieve, made.id)

    def test_responses_stream_helper(self):
        for model in BOTH:
            with self.subTest(model=model), OWNER.responses.stream(model=model, input="a") as stream:
                self.assertEqual(stream.get_final_response().output_text, TEXT)

    def test_responses_over_a_websocket(self):
        for model in BOTH:
            with self.subTest(model=model), opened(OWNER.responses.connect) as connection:
                previous = {}
                for _ in range(2):
                    connection.response.create(model=model, input="How is the weather?", **previous)
                    said = ""
                    for event in connection:
                        if event.type == "response.output_text.delta":
                            said += event.delta
                        if event.type == "response.completed":
                            break
                    self.assertEqual((said, event.response.output_text), (TEXT, TEXT))
                    previous = {"previous_response_id": event.response.id}

    def test_realtime(self):
        for key in (OWNER, PLAIN):
            spoken = functools.partial(key.realtime.connect, model="spoken")
            with self.subTest(key=key.api_key[:9]), opened(spoken) as connection:
                self.assertEqual(connection.recv().type, "session.created")
                connection.session.update(session={"type": "realtime", "instructions": "Be terse."})
                connection.conversation.item.create(
                    item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
                )
                connection.response.create()
                events = [connection.recv() for _ in range(3)]
                self.assertEqual(kinds(events)[-1], "response.done")
                self.assertEqual((events[0].delta, events[2].response.usage.output_tokens), (TEXT, 5))

    def test_speech_streams(self):
        call = {"model": "native", "voice": "alloy", "input": "hello"}
        self.assertEqual(OWNER.audio.speech.create(**call).content, SOUND)
        with OWNER.audio.speech.with_streaming_response.create(**call) as reply:
            pieces = list(reply.iter_bytes())
        self.assertEqual((b"".join(pieces), len(pieces) > 1), (SOUND, True))
        with OWNER.audio.speech.with_streaming_response.create(**call, stream_format="sse") as reply:
            kept = [line for line in reply.iter_lines() if line.startswith("event:")]
        self.assertEqual(kept, ["event: speech.audio.delta", "event: speech.audio.done"])

    def test_recordings_as_plain_text(self):
        for resource in (OWNER.audio.transcriptions, OWNER.audio.translations):
            for form, start in (("text", TEXT), ("srt", "1\n00:00:00,000 -->"), ("vtt", "WEBVTT\n\n")):
                with self.subTest(resource=type(resource).__name__, form=form):
                    reply = resource.create(model="native", file=recording(), response_format=form)
                    self.assertIsInstance(reply, str)
                    self.assertTrue(reply.startswith(start) and TEXT in reply, reply)

    def test_files_and_batches(self):
        """Of one key that may use the account, and of one that may use what it made itself."""
        for key in (OWNER, PLAIN):
            with self.subTest(key=key.api_key[:9]):
                file = key.files.create(file=("in.jsonl", io.BytesIO(b"{}\n{}")), purpose="batch")
                checked(self, file, types.FileObject)
                self.assertEqual(key.files.retrieve(file.id).id, file.id)
                self.assertEqual(key.files.content(file.id).text, '{"a": 1}\n')
                batch = key.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
                checked(self, batch, types.Batch)
                self.assertEqual((batch.input_file_id, batch.status), (file.id, "validating"))
                self.assertEqual(key.batches.retrieve(batch.id).request_counts.completed, 1)
                self.assertEqual(key.batches.cancel(batch.id).status, "cancelling")
                deleted = key.files.delete(file.id)
                self.assertEqual((deleted.deleted, deleted.id), (True, file.id))
        self.assertEqual([file.filename for file in OWNER.files.list(purpose="batch")], ["in.jsonl"])
        self.assertEqual([batch.status for batch in OWNER.batches.list(limit=2)], ["completed"])
        for refused in (PLAIN.files.list, PLAIN.batches.list, PLAIN.vector_stores.list):
            self.assertRaises((openai.PermissionDeniedError, openai.NotFoundError), refused)
        with self.assertRaises(openai.NotFoundError):
            PLAIN.files.retrieve("file-1")

    def test_pages(self):
        for listed in (OWNER.fine_tuning.jobs.list(limit=3), OWNER.vector_stores.list(limit=3)):
            self.assertIsInstance(listed.data, list)
            self.assertFalse(listed.has_next_page())

    def test_models(self):
        listed = {model.id: checked(self, model, types.Model) for model in OWNER.models.list()}
        for name in ("native", "team/large"):
            self.assertEqual(OWNER.models.retrieve(name).id, name)
            self.assertIn(name, listed)
        self.assertRaises(openai.NotFoundError, OWNER.models.retrieve, "nobody/has-this")

    def test_raw_replies_and_their_headers(self):
        raw = OWNER.chat.completions.with_raw_response.create(model="native", messages=QUESTION)
        self.assertTrue(raw.headers["x-request-id"])
        self.assertEqual(raw.http_response.http_version, "HTTP/2" if IS_HTTP2 else "HTTP/1.1")
        self.assertEqual(raw.parse().choices[0].message.content, TEXT)
        self.assertEqual(raw.parse()._request_id, raw.headers["x-request-id"])

    def test_async(self):
        import asyncio

        async def ask():
            async with openai.AsyncOpenAI(api_key=OWNER.api_key, base_url=URL, max_retries=0) as key:
                asked = [key.chat.completions.create(model=model, messages=QUESTION) for model in BOTH]
                return [reply.choices[0].message.content for reply in await asyncio.gather(*asked)]

        self.assertEqual(asyncio.run(ask()), [TEXT, TEXT])


if __name__ == "__main__":
    unittest.main()
