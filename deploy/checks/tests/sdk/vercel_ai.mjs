// The Vercel AI SDK through the gateway: a streamed tool loop over both of its OpenAI languages, against both upstreams.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(process.env.NODE_CLIENTS + '/');
const { createOpenAI } = require('@ai-sdk/openai');
const { stepCountIs, streamText, tool } = require('ai');
const { z } = require('zod');

const TEXT = process.env.EXPECTED_TEXT;
const gateway = createOpenAI({ baseURL: process.env.GATEWAY_URL + '/v1', apiKey: process.env.GATEWAY_KEY });

async function loop(name, model) {
  const asked = [];
  const weather = tool({
    description: 'The weather in a city',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => (asked.push(city), 'rain'),
  });
  const stream = streamText({
    model,
    prompt: 'How is the weather in Paris?',
    tools: { weather },
    stopWhen: stepCountIs(3),
    maxRetries: 0,
    onError: () => {},
  });
  const seen = { deltas: [], inputs: 0 };
  for await (const part of stream.fullStream) {
    assert.notEqual(part.type, 'error', `${name}: ${part.error}`);
    if (part.type === 'text-delta') seen.deltas.push(part.text);
    if (part.type === 'tool-input-delta') seen.inputs += 1;
  }
  const steps = await stream.steps;
  assert.deepEqual(asked, ['Paris'], name);
  assert.deepEqual(steps.map((step) => step.finishReason), ['tool-calls', 'stop'], name);
  assert.equal(seen.deltas.join(''), TEXT, name);
  // Gemini sends arguments whole.
  const isWhole = name.includes('gemini');
  assert.ok(seen.deltas.length > 1 && (isWhole || seen.inputs > 1), `${name}: in pieces, not at once: ${JSON.stringify(seen)}`);
  const usage = await stream.totalUsage;
  assert.ok(usage.inputTokens > 0 && usage.outputTokens > TEXT.split(' ').length, `${name}: ${JSON.stringify(usage)}`);
}

for (const model of ['openai', 'anthropic', 'gemini']) {
  await loop(`chat, ${model}`, gateway.chat(model));
  await loop(`responses, ${model}`, gateway.responses(model));
}
