// The official OpenAI client for Node through the gateway: every resource that applies.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(process.env.NODE_CLIENTS + '/');
const { OpenAI, toFile } = require('openai');
const { zodResponseFormat } = require('openai/helpers/zod');
const { OpenAIRealtimeWS } = require('openai/realtime/ws');
const { ResponsesWS } = require('openai/resources/responses/ws');
const { z } = require('zod');

const TEXT = process.env.EXPECTED_TEXT;
const QUESTION = [{ role: 'user', content: 'How is the weather in Paris?' }];
const client = (apiKey) => new OpenAI({ apiKey, baseURL: process.env.GATEWAY_URL + '/v1', maxRetries: 0, timeout: 30_000 });
const owner = client(process.env.GATEWAY_KEY);
// May use what it made itself.
const plain = client(process.env.GATEWAY_PLAIN_KEY);
const native = 'native';
const both = ['native', 'translated'];
const recording = () => toFile(Buffer.alloc(5000, 'RIFF'), 'a.wav', { type: 'audio/wav' });
const picture = () => toFile(Buffer.alloc(3000, 'PNG'), 'a.png', { type: 'image/png' });
const sound = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 256));

const all = async (stream) => {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
};
const types = (events) => events.map((event) => event.type);
const deltas = (events, type) => events.filter((event) => event.type === type).map((event) => event.delta).join('');
const refused = (status, call) => assert.rejects(call, (error) => error instanceof OpenAI.APIError && error.status === status);
const forBoth = (ask) => Promise.all(both.map(ask));

// name: [what is asked, what must come of it]
const cases = {
  'chat.completions.create': [
    () => forBoth(async (model) => (await owner.chat.completions.create({ model, messages: QUESTION })).choices[0].message.content),
    [TEXT, TEXT],
  ],
  'chat.completions.create, streamed': [
    () => forBoth(async (model) => {
      const chunks = await all(await owner.chat.completions.create({ model, messages: QUESTION, stream: true }));
      return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
    }),
    [TEXT, TEXT],
  ],
  'chat.completions.parse': [
    async () => {
      const format = zodResponseFormat(z.object({ city: z.string(), rain: z.boolean() }), 'weather');
      const reply = await owner.chat.completions.parse({ model: native, messages: QUESTION, response_format: format });
      return reply.choices[0].message.parsed;
    },
    { city: 'Paris', rain: true },
  ],
  'chat.completions.runTools': [
    () => forBoth(async (model) => {
      const asked = [];
      const weather = {
        type: 'function',
        function: {
          name: 'weather',
          parameters: { type: 'object', properties: { city: { type: 'string' } } },
          parse: JSON.parse,
          function: ({ city }) => (asked.push(city), 'rain'),
        },
      };
      const runner = owner.chat.completions.runTools({ model, messages: QUESTION, tools: [weather], stream: true });
      return [await runner.finalContent(), ...asked];
    }),
    [[TEXT, 'Paris'], [TEXT, 'Paris']],
  ],
  'completions.create': [
    async () => (await owner.completions.create({ model: native, prompt: 'a' })).choices[0].text,
    TEXT,
  ],
  'completions.create, streamed': [
    async () => {
      const chunks = await all(await owner.completions.create({ model: native, prompt: 'a', stream: true }));
      return chunks.map((chunk) => chunk.choices[0].text).join('');
    },
    TEXT,
  ],
  'embeddings.create': [
    async () => {
      const asked = [{}, { encoding_format: 'float' }].map((more) => owner.embeddings.create({ model: native, input: 'a', ...more }));
      return (await Promise.all(asked)).map((reply) => Array.from(reply.data[0].embedding));
    },
    [[0.5, -1, 2], [0.5, -1, 2]],
  ],
  'moderations.create': [
    async () => (await owner.moderations.create({ model: native, input: 'a' })).results[0].category_scores['hate/threatening'],
    0.5,
  ],
  'responses.create': [
    () => forBoth(async (model) => (await owner.responses.create({ model, input: 'a' })).output_text),
    [TEXT, TEXT],
  ],
  'responses.create, streamed': [
    () => forBoth(async (model) => {
      const events = await all(await owner.responses.create({ model, input: 'a', stream: true }));
      assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
      return [deltas(events, 'response.output_text.delta'), types(events).at(-1)];
    }),
    [[TEXT, 'response.completed'], [TEXT, 'response.completed']],
  ],
  'responses.retrieve, inputItems, cancel, delete': [
    () => forBoth(async (model) => {
      const { id } = await plain.responses.create({ model, input: 'How is the weather?', store: true });
      const items = await all(plain.responses.inputItems.list(id));
      const got = await plain.responses.retrieve(id);
      if (model === native) assert.equal((await plain.responses.cancel(id)).status, 'cancelled');
      else await refused(400, plain.responses.cancel(id));
      // The account has one response, which both have made.
      if (model !== native) await refused(404, owner.responses.retrieve(id));
      await plain.responses.delete(id);
      await refused(404, plain.responses.retrieve(id));
      return [items[0].content[0].text, got.output_text];
    }),
    [['How is the weather?', TEXT], ['How is the weather?', TEXT]],
  ],
  'responses.inputTokens.count': [
    async () => (await owner.responses.inputTokens.count({ model: native, input: 'a' })).input_tokens,
    11,
  ],
  'responses over a WebSocket': [
    () => forBoth(async (model) => {
      const socket = new ResponsesWS(owner);
      const ended = new Promise((resolve, reject) => {
        socket.on('response.completed', resolve);
        socket.on('error', reject);
      });
      await new Promise((resolve) => socket.socket.on('open', resolve));
      socket.send({ type: 'response.create', model, input: 'a' });
      const { response } = await ended;
      socket.close();
      return response.output[0].content[0].text;
    }),
    [TEXT, TEXT],
  ],
  'images.generate': [
    async () => (await owner.images.generate({ model: native, prompt: 'a' })).data[0].b64_json,
    'aGVsbG8=',
  ],
  'images.generate, streamed': [
    async () => types(await all(await owner.images.generate({ model: native, prompt: 'a', stream: true, partial_images: 2 }))),
    ['image_generation.partial_image', 'image_generation.partial_image', 'image_generation.completed'],
  ],
  'images.edit': [
    async () => {
      const image = [await picture(), await picture()];
      return (await owner.images.edit({ model: native, prompt: 'a', image, mask: await picture() })).usage.total_tokens;
    },
    286,
  ],
  'images.edit, streamed': [
    async () => types(await all(await owner.images.edit({ model: native, prompt: 'a', image: await picture(), stream: true }))).at(-1),
    'image_edit.completed',
  ],
  'images.createVariation': [
    async () => (await owner.images.createVariation({ model: native, image: await picture() })).data[0].b64_json,
    'aGVsbG8=',
  ],
  'audio.speech.create': [
    async () => {
      const reply = await owner.audio.speech.create({ model: native, voice: 'alloy', input: 'hello' });
      const pieces = await all(reply.body);
      return [pieces.length > 1, Buffer.concat(pieces).equals(sound)];
    },
    [true, true],
  ],
  'audio.transcriptions.create, in each format': [
    () => Promise.all(['json', 'verbose_json', 'diarized_json', 'text', 'srt', 'vtt'].map(async (response_format) => {
      const reply = await owner.audio.transcriptions.create({ model: native, file: await recording(), response_format });
      return typeof reply === 'string' ? reply.trim().split('\n').at(-1) : reply.text;
    })),
    Array(6).fill(TEXT),
  ],
  'audio.transcriptions.create, streamed': [
    async () => {
      const events = await all(await owner.audio.transcriptions.create({ model: native, file: await recording(), stream: true }));
      return [deltas(events, 'transcript.text.delta'), events.at(-1).text];
    },
    [TEXT, TEXT],
  ],
  'audio.translations.create': [
    async () => (await owner.audio.translations.create({ model: native, file: await recording() })).text,
    TEXT,
  ],
  'files and batches': [
    () => Promise.all([owner, plain].map(async (key) => {
      const file = await key.files.create({ file: await toFile(Buffer.from('{}'), 'in.jsonl'), purpose: 'batch' });
      assert.equal((await key.files.retrieve(file.id)).id, file.id);
      const content = await (await key.files.content(file.id)).text();
      const asked = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
      const batch = await key.batches.create(asked);
      assert.equal((await key.batches.retrieve(batch.id)).status, 'completed');
      const cancelled = (await key.batches.cancel(batch.id)).status;
      return [content, cancelled, (await key.files.delete(file.id)).deleted];
    })),
    [['{"a": 1}\n', 'cancelling', true], ['{"a": 1}\n', 'cancelling', true]],
  ],
  'files.list, batches.list': [
    async () => {
      await refused(403, plain.files.list());
      const files = await all(owner.files.list({ purpose: 'batch' }));
      return [files[0].filename, (await all(owner.batches.list()))[0].status];
    },
    ['in.jsonl', 'completed'],
  ],
  'vectorStores.create': [async () => (await owner.vectorStores.create({ name: 'n' })).id, 'vs_1'],
  'models.retrieve': [async () => (await owner.models.retrieve('team/large')).id, 'team/large'],
  'models.list': [
    async () => (await all(owner.models.list())).map((model) => model.id).sort(),
    ['native', 'spoken', 'team/large', 'translated'],
  ],
  realtime: [
    async () => {
      const socket = new OpenAIRealtimeWS({ model: 'spoken' }, plain);
      const seen = [];
      const ended = new Promise((resolve, reject) => {
        socket.on('event', (event) => seen.push(event.type));
        socket.on('session.created', () => socket.send({ type: 'response.create' }));
        socket.on('response.done', resolve);
        socket.on('error', reject);
      });
      const { response } = await ended;
      socket.close();
      return [seen[0], seen.at(-1), response.usage.output_tokens];
    },
    ['session.created', 'response.done', 5],
  ],
};

let failed = 0;
for (const [name, [ask, expected]] of Object.entries(cases)) {
  try {
    assert.deepEqual(await ask(), expected);
  } catch (error) {
    failed += 1;
    console.error(`${name}: ${error.stack}`);
  }
}
assert.equal(failed, 0, `${failed} of ${Object.keys(cases).length} failed`);
