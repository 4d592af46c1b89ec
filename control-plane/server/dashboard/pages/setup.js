// How clients are pointed at this gateway: each recipe with its address, and a key where this page has one.
import { html, useState } from "../app/lib.js";
import { useLoad } from "../app/api.js";
import { link, place, setSearch } from "../app/router.js";
import { publicUrl, secrets, shownUrl } from "../app/state.js";
import { Card, Choice, Code, Message, Page, Text } from "../app/ui.js";
import { choices } from "./playground.js";

const UNKNOWN = "gw_virt_YOUR_KEY";

/** Each: name, what it is about, and blocks of `[caption, text]` for a base URL, a key and a model. */
const RECIPES = {
  curl: ["curl", "OpenAI's API, streaming.", (url, key, model) => [["Chat completions", `curl -N ${url}/v1/chat/completions \\
  -H "Authorization: Bearer ${key}" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "${model}", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'`], ["Messages, as Anthropic has them", `curl ${url}/v1/messages \\
  -H "x-api-key: ${key}" -H "anthropic-version: 2023-06-01" -H "Content-Type: application/json" \\
  -d '{"model": "${model}", "max_tokens": 256, "messages": [{"role": "user", "content": "Hello"}]}'`]]],
  "openai-python": ["OpenAI SDK, Python", "The official client; only its base URL changes.", (url, key, model) => [["pip install openai", `from openai import OpenAI

client = OpenAI(base_url="${url}/v1", api_key="${key}")
reply = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "Hello"}],
)
print(reply.choices[0].message.content)`]]],
  "openai-node": ["OpenAI SDK, Node", "The official client; only its base URL changes.", (url, key, model) => [["npm install openai", `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${url}/v1", apiKey: "${key}" });
const reply = await client.chat.completions.create({
  model: "${model}",
  messages: [{ role: "user", content: "Hello" }],
});
console.log(reply.choices[0].message.content);`]]],
  "anthropic-python": ["Anthropic SDK, Python", "The base URL is the gateway's root, without /v1. Any model can be named, also those of other vendors.", (url, key, model) => [["pip install anthropic", `from anthropic import Anthropic

client = Anthropic(base_url="${url}", api_key="${key}")
reply = client.messages.create(
    model="${model}",
    max_tokens=256,
    messages=[{"role": "user", "content": "Hello"}],
)
print(reply.content[0].text)`]]],
  gemini: ["Google GenAI SDK", "Gemini's own API, for any model behind the gateway.", (url, key, model) => [["pip install google-genai", `from google import genai

client = genai.Client(api_key="${key}", http_options={"base_url": "${url}"})
reply = client.models.generate_content(model="${model}", contents="Hello")
print(reply.text)`]]],
  langchain: ["LangChain", "With the OpenAI integration.", (url, key, model) => [["pip install langchain-openai", `from langchain_openai import ChatOpenAI

llm = ChatOpenAI(base_url="${url}/v1", api_key="${key}", model="${model}")
print(llm.invoke("Hello").content)`]]],
  vercel: ["Vercel AI SDK", "With its OpenAI-compatible provider.", (url, key, model) => [["npm install ai @ai-sdk/openai-compatible", `import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const gateway = createOpenAICompatible({ name: "gateway", baseURL: "${url}/v1", apiKey: "${key}" });
const { text } = await generateText({ model: gateway("${model}"), prompt: "Hello" });
console.log(text);`]]],
  "claude-code": ["Claude Code", "Two variables, for one shell or in its settings. To undo it, take them away.", (url, key, model) => [["In a shell", `export ANTHROPIC_BASE_URL=${url}
export ANTHROPIC_AUTH_TOKEN=${key}
claude --model ${model}`], ["For good, in ~/.claude/settings.json", `{
  "env": {
    "ANTHROPIC_BASE_URL": "${url}",
    "ANTHROPIC_AUTH_TOKEN": "${key}",
    "ANTHROPIC_MODEL": "${model}"
  }
}`]]],
  codex: ["Codex", "A provider of its own in the configuration; it speaks the Responses API.", (url, key, model) => [["~/.codex/config.toml", `model = "${model}"
model_provider = "gateway"

[model_providers.gateway]
name = "Gateway"
base_url = "${url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"`], ["In the shell", `export GATEWAY_KEY=${key}`]]],
  cursor: ["Cursor", "Settings, Models. Cursor calls from its own servers: the address must be reachable from the internet, over HTTPS.", (url, key, model) => [["OpenAI API Key", key], ["Override OpenAI Base URL", `${url}/v1`], ["Add model", model]]],
  copilot: ["VS Code, GitHub Copilot", "A custom OpenAI-compatible endpoint for chat: Manage Models, then OpenAI Compatible.", (url, key, model) => [["Base URL", `${url}/v1`], ["API key", key], ["Model id", model]]],
  opencode: ["OpenCode", "A provider in its configuration.", (url, key, model) => [["opencode.json", `{
  "$schema": "https://opencode.ai/config.json",
  "provider": {
    "gateway": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "Gateway",
      "options": { "baseURL": "${url}/v1", "apiKey": "${key}" },
      "models": { "${model}": {} }
    }
  }
}`]]],
  goose: ["Goose", "Its OpenAI provider, with another host.", (url, key, model) => [["In a shell", `export GOOSE_PROVIDER=openai
export OPENAI_HOST=${url}
export OPENAI_API_KEY=${key}
export GOOSE_MODEL=${model}
goose session`]]],
};

export function Setup() {
  const chosen = RECIPES[place.value.search.get("client")] ? place.value.search.get("client") : "curl";
  const made = Object.entries(secrets.value).filter(([, value]) => typeof value === "string");
  const [key, setKey] = useState("");
  const [model, setModel] = useState("");
  const [own, setOwn] = useState(shownUrl);
  const known = useLoad("model choices", choices);
  const name = model || known.data?.[0] || "MODEL";
  const [title, about, blocks] = RECIPES[chosen];
  return html`<${Page} title="Client setup" about="Copy, paste, run. What is shown is filled with this gateway's address." cli="gatewayctl models">
    ${!publicUrl && html`<${Message} tone="warn"><p>The public address is not known to this control plane (<code>--public-url</code>); write it below.</p><//>`}
    <${Card}><div class="grid three">
      <${Text} label="Gateway" value=${own} onValue=${setOwn} mono />
      <${Choice} label="Key" value=${key} onValue=${setKey} options=${[["", UNKNOWN], ...made.map(([name]) => [name, name])]} hint=${made.length ? "Keys that this page has made." : html`Secrets are shown once, when <a href=${link("keys")}>a key is made</a>.`} />
      <${Text} label="Model" value=${model} onValue=${setModel} placeholder=${name} mono list="setup-models" /></div>
      <datalist id="setup-models">${(known.data ?? []).map((one) => html`<option value=${one} />`)}</datalist><//>
    <div class="recipes">
      <nav aria-label="Clients">${Object.entries(RECIPES).map(([id, [text]]) => html`<button type="button" aria-pressed=${id === chosen} onClick=${() => setSearch({ client: id })}>${text}</button>`)}</nav>
      <${Card} title=${title}><div class="stack"><p class="quiet">${about}</p>
        ${blocks(own.replace(/\/+$/, ""), key ? secrets.value[key] : UNKNOWN, name).map(([caption, text]) => html`<div class="stack tight" key=${caption}><h3>${caption}</h3><${Code} text=${text} /></div>`)}
        <p class="note"><a href=${link("requests")}>Watch its requests arrive</a></p></div><//>
    </div>
  <//>`;
}
