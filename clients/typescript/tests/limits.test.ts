/** What holds whatever the daemon or the network does: limits, silence, broken frames, foreign answers. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Client } from "comfyledger";
import { Turns } from "../dist/turns.js";
import { EPOCH, FakeSocket, answering, eventAt, withSockets } from "./daemons.js";
import { DEADLINE_MS, refused, until } from "./house.js";

const EVENTS_WAITING_MAX = 1_000;
const EVENTS = 2_500;
const WS_URL = "http://127.0.0.1:1";

const check = (name: string, body: () => Promise<void>) => test(name, { timeout: DEADLINE_MS }, body);

check("of a slow reader's events a thousand wait, and the rest is asked for again after the last one", async () => {
  let subscriptions = 0;
  const afters: unknown[] = [];
  const unsubscribed: unknown[] = [];
  const answer: typeof FakeSocket.answer = ({ type, id, data }, socket) => {
    if (type === "unsubscribe") unsubscribed.push(data["subscription"]);
    if (type !== "subscribe") return socket.say("result", id, {});
    const subscription = `s${(subscriptions += 1)}`;
    const after = Number(data["after"]);
    afters.push(after);
    socket.say("result", id, { subscription, epoch: EPOCH, position: after });
    for (let position = after + 1; position <= EVENTS; position += 1) {
      socket.say("event", null, { subscription, ...eventAt(position) });
    }
  };
  await withSockets(answer, async () => {
    const made = new Client({ url: WS_URL });
    const events = made.subscribe({});
    const seen = [(await events.next()).value?.position];
    await until(async () => unsubscribed.length > 0, "the client gives up the subscription");
    assert.ok((await made.request("server_info", {})) !== undefined);
    while (seen.length < EVENTS) seen.push((await events.next()).value?.position);
    assert.deepEqual(seen, Array.from({ length: EVENTS }, (_, index) => index + 1));
    assert.ok(afters.slice(1).every((after, index) => Number(after) - Number(afters[index]) <= EVENTS_WAITING_MAX + 1));
    assert.equal(afters.length, 3);
    assert.equal(FakeSocket.made.length, 1);
    made.close();
  });
});

check("over HTTP, too, a thousand events wait, and the rest is asked for again", async () => {
  const afters: number[] = [];
  let broken = 0;
  const serve: Parameters<typeof answering>[0] = (request, response) => {
    const after = Number(new URL(request.url ?? "", WS_URL).searchParams.get("after"));
    afters.push(after);
    response.on("close", () => (broken += 1));
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`retry: 1000\nid: ${EPOCH}:${after}\n\n`);
    for (let position = after + 1; position <= EVENTS; position += 1) {
      response.write(`id: ${EPOCH}:${position}\nevent: x\ndata: ${JSON.stringify(eventAt(position))}\n\n`);
    }
  };
  await answering(serve, async (url) => {
    const made = new Client({ url, transport: "http" });
    const events = made.subscribe({});
    const seen = [(await events.next()).value?.position];
    await until(async () => broken > 0, "the client leaves the stream");
    assert.deepEqual(afters, [0]);
    while (seen.length < EVENTS) seen.push((await events.next()).value?.position);
    assert.deepEqual(seen, Array.from({ length: EVENTS }, (_, index) => index + 1));
    assert.equal(afters[1], EVENTS_WAITING_MAX + 1);
    made.close();
  });
});

check("a stream that comes byte by byte is read as one that comes at once", async () => {
  const text = `:\n\nid: ${EPOCH}:0\n\nevent: batch_resumed\nid: ${EPOCH}:1\ndata: ${JSON.stringify({
    ...eventAt(1),
    data: { by: "Ärger 🦊" },
  })}\n\n`;
  const serve: Parameters<typeof answering>[0] = (_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const bytes = [...Buffer.from(text)];
    const next = (): void => {
      const byte = bytes.shift();
      if (byte !== undefined) response.write(Buffer.from([byte]), () => setImmediate(next));
    };
    next();
  };
  await answering(serve, async (url) => {
    const made = new Client({ url, transport: "http" });
    const { value } = await made.subscribe({ kinds: ["batch_resumed"] }).next();
    assert.deepEqual(value?.data, { by: "Ärger 🦊" });
    made.close();
  });
});

check("a daemon that says nothing is asked for a sign of life and then given up", async () => {
  mock.timers.enable({ apis: ["setInterval", "Date"] });
  try {
    await withSockets(
      ({ id }, socket) => socket.say("result", id, { subscription: "s", epoch: EPOCH, position: 0 }),
      async () => {
        const made = new Client({ url: WS_URL });
        const waits = made.subscribe({}).next();
        await until(async () => FakeSocket.made[0]?.asked.length === 2, "it is subscribed");
        mock.timers.tick(15_000);
        mock.timers.tick(15_000);
        assert.equal(FakeSocket.made[0]?.asked.filter(({ type }) => type === "hello").length, 2);
        await until(async () => true, "the answer came");
        mock.timers.tick(15_000);
        assert.equal(FakeSocket.made.length, 1, "it has answered");
        FakeSocket.isDeaf = true;
        for (let ticks = 0; ticks < 3; ticks += 1) mock.timers.tick(15_000);
        FakeSocket.isDeaf = false;
        await until(async () => FakeSocket.made[1]?.asked[1]?.type === "subscribe", "it subscribes again");
        made.close();
        await refused(waits, "not_running");
      },
    );
  } finally {
    mock.timers.reset();
  }
});

check("a subscription continues in its epoch also if no event came yet", async () => {
  const asked: object[] = [];
  const answer: typeof FakeSocket.answer = ({ id, data }, socket) => {
    asked.push(data);
    socket.say("result", id, { subscription: "s", epoch: EPOCH, position: 7 });
    if (asked.length < 4) setTimeout(() => socket.drop());
  };
  await withSockets(answer, async () => {
    const made = new Client({ url: WS_URL });
    const first = made.subscribe({ kinds: ["batch_settled"] });
    void first.next().catch(() => undefined);
    await until(async () => asked.length === 2, "it begins again");
    await first.return();
    const second = made.subscribe({ after: -1 });
    void second.next().catch(() => undefined);
    await until(async () => asked.length === 4, "it begins again");
    assert.deepEqual(asked, [
      { kinds: ["batch_settled"], after: 0 },
      { kinds: ["batch_settled"], after: 0, epoch: EPOCH },
      { after: -1 },
      { after: 7, epoch: EPOCH },
    ]);
    made.close();
  });
});

check("a request that is too large for the daemon is refused, and not sent for ever", async () => {
  const answer: typeof FakeSocket.answer = ({ id, data }, socket) => {
    if (data["request_id"] === "large") setTimeout(() => socket.drop(1009, "too large"));
    else setTimeout(() => socket.say("result", id, { numbers: [1] }), 20);
  };
  await withSockets(answer, async () => {
    const made = new Client({ url: WS_URL });
    const [small, large] = ["small", "large"].map((request_id) =>
      made.submit({ request_id, metadata: { text: "x".repeat(request_id === "large" ? 999 : 1) } }),
    ) as [Promise<unknown>, Promise<unknown>];
    await refused(large, "frame_too_large");
    assert.deepEqual(await small, { numbers: [1] });
    made.close();
  });
});

check("a time limit that was given is not extended while the daemon waits, and the client's is", async () => {
  const told: unknown[] = [];
  const answer: typeof FakeSocket.answer = ({ id }, socket) => {
    socket.say("waiting", id, { code: "series_unanswered", message: "The stores are asked." });
    setTimeout(() => socket.say("result", id, { numbers: [1] }), 300);
  };
  await withSockets(answer, async () => {
    const made = new Client({ url: WS_URL, timeoutS: 0.1, onWaiting: ({ code }) => told.push(code) });
    assert.deepEqual(await made.submit({ request_id: "a" }), { numbers: [1] });
    await refused(made.submit({ request_id: "b" }, { timeoutS: 0.1 }), "timeout");
    assert.deepEqual(told, ["series_unanswered", "series_unanswered"]);
    made.close();
  });
});

check("the app hears when the connection is there, breaks and is there again", async () => {
  const heard: boolean[] = [];
  await withSockets(
    ({ id }, socket) => socket.say("result", id, {}),
    async () => {
      const made = new Client({ url: WS_URL, onConnection: (isConnected) => heard.push(isConnected) });
      await made.connect();
      FakeSocket.made[0]?.drop();
      await made.request("server_info", {});
      made.close();
      await until(async () => heard.length === 4, "the end is said");
      assert.deepEqual(heard, [true, false, true, false]);
    },
  );
});

check("the app hears that no connection opens, once, and when one does", async () => {
  const heard: boolean[] = [];
  await withSockets(
    ({ id }, socket) => socket.say("result", id, {}),
    async () => {
      FakeSocket.isAbsent = true;
      const made = new Client({ url: WS_URL, onConnection: (isConnected) => heard.push(isConnected) });
      const asked = made.request("server_info", {});
      await until(async () => FakeSocket.made.length >= 3, "it is tried again");
      assert.deepEqual(heard, [false]);
      FakeSocket.isAbsent = false;
      await asked;
      assert.deepEqual(heard, [false, true]);
      made.close();
    },
  );
});

check("the token goes to a websocket as a subprotocol and never into an address", async () => {
  await withSockets(
    ({ id }, socket) => socket.say("result", id, {}),
    async () => {
      const made = new Client({ url: "https://ledger.example/prefix/", token: "secret" });
      await made.connect();
      const [socket] = FakeSocket.made;
      assert.deepEqual([socket?.url, socket?.protocols], ["wss://ledger.example/prefix/ws", ["comfyledger", "token.secret"]]);
      made.close();
    },
  );
});

check("an answer that is not the daemon's is told as such, and a proxy whose daemon is away is asked again", async () => {
  let asked = 0;
  const serve: Parameters<typeof answering>[0] = ({ url }, response) => {
    asked += 1;
    if (url === "/v1/batches/page") return void response.writeHead(404).end("<html>nothing here</html>");
    if (url === "/v1/batches/elsewhere") return void response.writeHead(302, { Location: "/v1/batches/x" }).end();
    if (asked < 4) return void response.writeHead(502).end("<html>bad gateway</html>");
    response.end('{"batch_id": "x"}');
  };
  await answering(serve, async (url) => {
    const made = new Client({ url, transport: "http", token: "secret" });
    assert.equal((await made.getBatch("x")).batch_id, "x");
    assert.equal(asked, 4);
    await refused(made.getBatch("page"), "protocol_version");
    await refused(made.getBatch("elsewhere", { timeoutS: 0.3 }), "not_running");
    made.close();
  });
});

check("calls over HTTP go in turns, and one that is aborted gives its turn away", async () => {
  let now = 0;
  let most = 0;
  const serve: Parameters<typeof answering>[0] = (_, response) => {
    most = Math.max(most, (now += 1));
    setTimeout(() => {
      now -= 1;
      response.end('{"batch_id": "x"}');
    }, 10);
  };
  await answering(serve, async (url) => {
    const made = new Client({ url, transport: "http" });
    const stop = new AbortController();
    const calls = Array.from({ length: 40 }, (_, index) =>
      made.getBatch("x", index % 2 ? { signal: stop.signal } : {}).then(
        () => "answered",
        () => "aborted",
      ),
    );
    stop.abort();
    const how = await Promise.all(calls);
    assert.equal(how.filter((one) => one === "answered").length, 20);
    assert.ok(most <= 6, `${most} at once`);
    made.close();
  });
});

check("a turn that comes to a call in the moment in which it is aborted goes to the next one", async () => {
  const turns = new Turns(1);
  const stop = new AbortController();
  const calm = new AbortController().signal;
  let finish = (): void => undefined;
  const work = new Promise<void>((resolve) => (finish = resolve));
  const first = turns.run(calm, () => work);
  const second = turns.run(stop.signal, async () => "done").catch(() => "aborted");
  void work.then(() => stop.abort()); // right after the first call has given its turn away
  finish();
  await first;
  assert.equal(await second, "aborted");
  assert.equal(await turns.run(calm, async () => "done"), "done");
});
