"""LangChain through the gateway: a streamed tool loop over both of its OpenAI languages, against both upstreams."""

import os
import unittest

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

TEXT = os.environ["EXPECTED_TEXT"]


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


def chat(model, responses):
    return ChatOpenAI(
        model=model,
        base_url=os.environ["GATEWAY_URL"] + "/v1",
        api_key=os.environ["GATEWAY_KEY"],
        use_responses_api=responses,
        stream_usage=True,
        max_retries=0,
        timeout=30,
    ).bind_tools([weather])


def streamed(llm, messages):
    """The pieces, and the message that they add up to."""
    pieces = list(llm.stream(messages))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    return pieces, whole


class ToolLoop(unittest.TestCase):
    def test_streamed_tool_loop(self):
        for model in ("openai", "anthropic", "gemini"):
            for responses in (False, True):
                with self.subTest(model=model, responses=responses):
                    self.loop(chat(model, responses))

    def loop(self, llm):
        messages = [HumanMessage("How is the weather in Paris?")]
        _, asked = streamed(llm, messages)
        self.assertEqual([(call["name"], call["args"]) for call in asked.tool_calls], [("weather", {"city": "Paris"})])
        result = weather.invoke(asked.tool_calls[0])
        self.assertEqual(result.content, "rain in Paris")
        pieces, answer = streamed(llm, [*messages, asked, result])
        self.assertEqual(answer.text, TEXT)
        self.assertGreater(sum(bool(piece.text) for piece in pieces), 1, "in pieces, not at once")
        self.assertEqual(answer.usage_metadata["output_tokens"], len(TEXT.split()))


if __name__ == "__main__":
    unittest.main()
