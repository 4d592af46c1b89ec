#!/usr/bin/env python3
"""Writes models.txt anew from two public data sets, both under the MIT licence (NOTICE.md).

    pip download --no-deps -d WHEELS litellm==1.109.1 genai-prices==0.2.3
    python3 proto/model/catalog/refresh.py WHEELS

Standard library only; reads data out of the wheels and runs none of their code. The first source wins; the second adds models that
the first does not have. Where both have a model and their prices differ by more than 1 %, the model is listed on standard error:
somebody has to look. The format is told at the head of models.txt.
"""

import ast
import datetime
import json
import pathlib
import re
import sys
import zipfile
from decimal import Decimal

# Our kinds, and what the first source calls them.
FIRST = {
    "openai": ["openai", "text-completion-openai"], "anthropic": ["anthropic"], "azure": ["azure", "azure_text"],
    "gemini": ["gemini"], "bedrock": ["bedrock", "bedrock_converse"], "groq": ["groq"], "together": ["together_ai"],
    "fireworks": ["fireworks_ai", "fireworks_ai-embedding-models"], "deepinfra": ["deepinfra"], "deepseek": ["deepseek"],
    "mistral": ["mistral", "codestral"], "xai": ["xai"], "cohere": ["cohere", "cohere_chat"], "perplexity": ["perplexity"],
    "zai": ["zai"], "moonshot": ["moonshot"], "qwen": ["dashscope"], "minimax": ["minimax"], "nvidia": ["nvidia_nim"],
    "sambanova": ["sambanova"], "cerebras": ["cerebras"], "databricks": ["databricks"], "snowflake": ["snowflake"],
    "watsonx": ["watsonx"], "cloudflare": ["cloudflare"], "vercel": ["vercel_ai_gateway"], "nebius": ["nebius"],
    "novita": ["novita"], "hyperbolic": ["hyperbolic"], "baseten": ["baseten"], "lambda": ["lambda_ai"],
    "featherless": ["featherless_ai"], "volcengine": ["volcengine"], "tencent": ["tencent"], "scaleway": ["scaleway"],
    "ovh": ["ovhcloud"], "meta": ["meta_llama", "meta"], "gmi": ["gmi"], "ai21": ["ai21"], "friendli": ["friendliai"],
    "replicate": ["replicate"], "wandb": ["wandb"], "nscale": ["nscale"], "morph": ["morph"], "v0": ["v0"],
    "inception": ["inception"], "voyage": ["voyage"], "jina": ["jina_ai"],
    "vertex": ["vertex_ai", "vertex_ai-language-models", "vertex_ai-anthropic_models", "vertex_ai-mistral_models",
               "vertex_ai-llama_models", "vertex_ai-embedding-models", "vertex_ai-ai21_models", "vertex_ai-deepseek_models",
               "vertex_ai-qwen_models", "vertex_ai-zai_models", "vertex_ai-openai_models", "vertex_ai-minimax_models",
               "vertex_ai-moonshot_models"],
}
# Our kinds, and what the second source calls them.
SECOND = {
    "openrouter": "openrouter", "groq": "groq", "cerebras": "cerebras", "cohere": "cohere", "mistral": "mistral",
    "moonshot": "moonshotai", "together": "together", "minimax": "minimax", "zai": "zai", "perplexity": "perplexity",
    "xai": "x-ai", "openai": "openai", "anthropic": "anthropic", "deepseek": "deepseek", "novita": "novita",
    "baseten": "baseten", "ovh": "ovhcloud", "databricks": "databricks", "cloudflare": "cloudflare", "voyage": "voyageai",
}
MODES = {
    "chat": "chat", "responses": "chat", "completion": "completion", "embedding": "embedding", "image_generation": "image",
    "audio_transcription": "transcription", "audio_speech": "speech", "rerank": "rerank", "moderation": "moderation",
}
# Price classes of models.txt and the first source's names, all per token.
CLASSES = {
    "in": "input_cost_per_token", "out": "output_cost_per_token", "read": "cache_read_input_token_cost",
    "write": "cache_creation_input_token_cost", "write1h": "cache_creation_input_token_cost_above_1hr",
    "audio_in": "input_cost_per_audio_token", "audio_out": "output_cost_per_audio_token",
    "image_in": "input_cost_per_image_token", "image_out": "output_cost_per_image_token",
}
# Prices by the unit: class, mode of the models that have them, the first source's name, what that is times.
UNITS = [
    ("image", "image", "output_cost_per_image", 1), ("image", "image", "input_cost_per_image", 1),
    ("picture_in", "embedding", "input_cost_per_image", 1), ("minute", "transcription", "input_cost_per_second", 60),
    ("chars", "speech", "input_cost_per_character", 1_000_000), ("searches", "rerank", "input_cost_per_query", 1000),
]
# And of the second's, per million.
SECOND_CLASSES = {
    "in": "input_mtok", "out": "output_mtok", "read": "cache_read_mtok", "write": "cache_write_mtok",
    "write1h": "cache_write_1h_mtok", "audio_in": "input_audio_mtok", "audio_out": "output_audio_mtok",
    "image_in": "input_image_mtok", "image_out": "output_image_mtok",
}
CAPABILITIES = {
    "T": "supports_function_calling", "P": "supports_parallel_function_calling", "C": "supports_tool_choice",
    "S": "supports_response_schema", "R": "supports_reasoning", "K": "supports_prompt_caching", "W": "supports_web_search",
    "U": "supports_computer_use",
}
HEAD = """\
# What is known of models: context, modalities, capabilities, prices. Written by refresh.py; do not edit. Licences: NOTICE.md.
#
# =kind   the models of a kind of provider follow, in the order of their names' bytes
# model, mode, context window, output cap, modalities, capabilities, prices; separated by tabs, empty where unknown
#
# modalities    t text, i image, a audio, v video, d document; in>out
# capabilities  T tools, P parallel calls, C tool choice, S schemas, R reasoning, K prompt cache, W web search, U computer use
# prices        USD per million tokens, by class: in, out, read and write (cache), write1h, audio_in, audio_out, image_in,
#               image_out. What follows `>N` holds for a whole request whose prompt has more than N tokens (several go from low to
#               high), what follows `batch` for batches, what follows `flex` or `priority` for requests in that service tier, with
#               bounds of its own. USD per unit: image (a picture made), picture_in (one read), minute (of a recording), chars (a million
#               characters spoken), searches (a thousand)
# mode          followed by 1 or 2, the source that the line is from
#
"""


def main():
    wheels = pathlib.Path(sys.argv[1])
    first, first_version = member(wheels, "litellm", "litellm/model_prices_and_context_window_backup.json")
    second, second_version = member(wheels, "genai_prices", "genai_prices/data.py")
    models = {kind: {} for kind in sorted({*FIRST, *SECOND})}
    from_first(json.loads(first, parse_float=Decimal), models)
    from_second(second, models)
    text = HEAD
    text += f"# taken {datetime.date.today()} from: 1 litellm {first_version}, 2 genai-prices {second_version}\n"
    for kind, rows in models.items():
        text += f"={kind}\n"
        text += "".join("\t".join([name, *row]) + "\n" for name, row in sorted(rows.items(), key=lambda row: row[0].encode()))
    path = pathlib.Path(__file__).with_name("models.txt")
    path.write_text(text, encoding="utf-8")
    n_models = sum(map(len, models.values()))
    print(f"{path}: {n_models} models of {len(models)} kinds, {len(text.encode())} bytes")


def member(wheels, name, path):
    wheel = next(wheels.glob(f"{name}-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(path).decode("utf-8"), wheel.name.split("-")[1]


def from_first(data, models):
    kinds = {theirs: kind for kind, names in FIRST.items() for theirs in names}
    for key, facts in data.items():
        kind = kinds.get(facts.get("litellm_provider"))
        mode = MODES.get(facts.get("mode"))
        if not kind or not mode or facts.get("deprecation_date", "9") < str(datetime.date.today()):
            continue
        prefix = key.split("/", 1)[0]
        name = key.split("/", 1)[1] if prefix in FIRST[kind] or prefix in (kind, "vertex_ai", "together_ai") else key
        # Prices by picture size or region, and classes of models rather than models.
        if kind == "bedrock" and "/" in name or name.startswith(("ft:", "together-ai-", "fireworks-ai-")):
            continue
        if not clean(name) or re.search(r"\d-x-\d", name):
            continue
        told = prices(facts, mode)
        if not facts.get("max_input_tokens") and not told:
            continue
        row = [
            mode + "1", number(facts.get("max_input_tokens")), number(facts.get("max_output_tokens")), modalities(facts, mode),
            "".join(letter for letter, flag in CAPABILITIES.items() if facts.get(flag)), told,
        ]
        models[kind].setdefault(name, row)


def modalities(facts, mode):
    told = set(facts.get("supported_modalities") or [])
    flags = {"i": "supports_vision", "a": "supports_audio_input", "v": "supports_video_input", "d": "supports_pdf_input"}
    words = {"i": "image", "a": "audio", "v": "video", "d": "document"}
    into = "" if mode == "transcription" else "t"
    into += "".join(letter for letter in "iavd" if facts.get(flags[letter]) or words[letter] in told)
    if mode == "transcription" and "a" not in into:
        into += "a"
    made = {"image": "i", "speech": "a"}.get(mode, "t")
    out = set(facts.get("supported_output_modalities") or [])
    made += "".join(letter for letter in "ia" if words[letter] in out and letter not in made)
    if facts.get("supports_audio_output") and "a" not in made:
        made += "a"
    return f"{into}>{made}"


def prices(facts, mode):
    base = classes(facts, "")
    if not any(value for _, value in base):
        base = []
    parts = [f"{name}={usd(value)}" for name, value in base]
    units = {}
    for name, of_mode, key, times in UNITS:
        # What a vendor charges by tokens is told per picture as well, for reading and for making.
        if mode == of_mode and facts.get(key) and not (base and key == "input_cost_per_image" and mode == "image"):
            units.setdefault(name, plain(Decimal(str(facts[key])) * times))
    parts += [f"{name}={price}" for name, price in units.items()]
    if not base:
        return " ".join(parts)
    above = long(facts, "")
    for tier in (facts.get("tiered_pricing") or [])[1:] if not above else []:
        if told := classes(tier, ""):
            above.append(f">{int(tier['range'][0])}")
            above += [f"{name}={usd(value)}" for name, value in told]
    parts += above
    if batch := classes(facts, "_batches"):
        parts.append("batch")
        parts += [f"{name}={usd(value)}" for name, value in batch]
    for tier in ("flex", "priority"):
        if told := classes(facts, f"_{tier}"):
            parts += [tier, *[f"{name}={usd(value)}" for name, value in told], *long(facts, f"_{tier}")]
    return " ".join(parts)


def long(facts, suffix):
    found = (re.fullmatch(rf"input_cost_per_token_above_(\d+)k_tokens{suffix}", key) for key in facts)
    parts = []
    for limit in sorted({int(one[1]) for one in found if one}):
        parts.append(f">{limit * 1000}")
        parts += [f"{name}={usd(value)}" for name, value in classes(facts, f"_above_{limit}k_tokens{suffix}")]
    return parts


def classes(facts, suffix):
    found = [(name, facts.get(key + suffix)) for name, key in CLASSES.items()]
    return [(name, Decimal(str(value))) for name, value in found if isinstance(value, (int, Decimal))]


def from_second(source, models):
    tree = ast.parse(source)
    providers = next(node.value for node in tree.body if isinstance(node, ast.AnnAssign))
    kinds = {theirs: kind for kind, theirs in SECOND.items()}
    for provider in map(value, providers.elts):
        kind = kinds.get(provider["id"])
        for model in provider["models"] if kind else []:
            told = model["prices"]
            if isinstance(told, list):
                # What held without a condition; dated and timed prices come and go.
                told = next((part["prices"] for part in told if not part.get("constraint")), None)
            name = model["id"]
            if not told or not clean(name):
                continue
            mine = models[kind].get(name)
            if mine:
                compare(kind, name, mine[-1], told)
            else:
                row = ["chat2", number(model.get("context_window")), "", "t>t", "", second_prices(told)]
                models[kind][name] = row


def value(node):
    """Calls become maps of their named arguments; nothing is run."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "Decimal":
            return Decimal(value(node.args[0]))
        return {keyword.arg: value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List):
        return [value(part) for part in node.elts]
    return node.value if isinstance(node, ast.Constant) else None


def second_prices(told):
    parts, above, limit = [], [], None
    for name, key in SECOND_CLASSES.items():
        price = told.get(key)
        if isinstance(price, dict):
            tier = price["tiers"][0]
            limit = tier["start"]
            above.append(f"{name}={plain(tier['price'])}")
            price = price["base"]
        if isinstance(price, Decimal):
            parts.append(f"{name}={plain(price)}")
    if limit:
        parts += [f">{limit}", *above]
    return " ".join(parts) if any(not part.endswith("=0") for part in parts) else ""


def compare(kind, name, mine, told):
    mine = dict(part.split("=") for part in mine.split(" >")[0].split(" batch")[0].split() if "=" in part)
    for part in second_prices(told).split(" >")[0].split():
        cls, price = part.split("=")
        ours, theirs = Decimal(mine.get(cls, "0")), Decimal(price)
        if cls in mine and abs(ours - theirs) > max(ours, theirs) / 100:
            print(f"differs: {kind}/{name} {cls}: {ours} and {theirs}", file=sys.stderr)


def clean(name):
    return bool(re.fullmatch(r"[!-~]{1,200}", name)) and not name.startswith(("=", "#"))


def number(count):
    return str(int(count)) if isinstance(count, (int, Decimal)) and count > 0 else ""


def usd(per_token):
    return plain(per_token * 1_000_000)


def plain(price):
    return f"{round(price, 9).normalize():f}"


main()
