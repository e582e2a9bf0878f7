// Every operation of Microsoft's JavaScript client against the emulator: CONNECTION_STRING in the environment, and TRANSPORT=websocket for AMQP over one.
"use strict";

const assert = require("node:assert/strict");
const { setTimeout: pause } = require("node:timers/promises");
const { ServiceBusClient } = require("@azure/service-bus");

const CONNECTION = process.env.CONNECTION_STRING;
const FEW_RETRIES = { retryOptions: { maxRetries: 0, timeoutInMs: 10_000 }, ...overWebSocket() };

/** The client knows wss alone; the emulator has no TLS. */
function overWebSocket() {
  if (process.env.TRANSPORT !== "websocket") return {};
  const WebSocket = require("ws");
  class Plain extends WebSocket {
    constructor(url, protocols, options) {
      super(url.replace(/^wss:/, "ws:"), protocols, options);
    }
  }
  return { webSocketOptions: { webSocket: Plain } };
}

const bodies = (messages) => messages.map((message) => message.body);

/** Up to `count` messages, in as many rounds as it takes. */
async function receive(receiver, count) {
  const found = [];
  const deadline = Date.now() + 5_000;
  while (found.length < count && Date.now() < deadline) {
    found.push(...(await receiver.receiveMessages(count - found.length, { maxWaitTimeInMs: 1_000 })));
  }
  return found;
}

const none = async (receiver) => assert.deepEqual(await receiver.receiveMessages(1, { maxWaitTimeInMs: 500 }), []);
const completeAll = async (receiver, messages) => {
  for (const message of messages) await receiver.completeMessage(message);
};
const refused = (code, promise) => assert.rejects(promise, (error) => error.code === code || assert.fail(`${error.code}: ${error}`));
const one = (body, more = {}) => ({ body, messageId: `${Math.random()}`, ...more });

const cases = {
  async sendAndComplete(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    await sender.sendMessages({
      body: { hello: "world" },
      messageId: "m1",
      subject: "greeting",
      correlationId: "c1",
      contentType: "application/json",
      applicationProperties: { colour: "red", count: 3 },
    });
    const [message] = await receive(receiver, 1);
    assert.deepEqual(message.body, { hello: "world" });
    assert.equal(message.messageId, "m1");
    assert.equal(message.subject, "greeting");
    assert.deepEqual(message.applicationProperties, { colour: "red", count: 3 });
    assert.equal(message.deliveryCount, 0);
    assert.ok(message.sequenceNumber && message.enqueuedTimeUtc && message.lockedUntilUtc && message.lockToken);
    await receiver.completeMessage(message);
    await none(receiver);
  },

  async sendBatch(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    const batch = await sender.createMessageBatch();
    const sent = Array.from({ length: 50 }, (_, number) => `b${number}`);
    for (const body of sent) assert.ok(batch.tryAddMessage(one(body)));
    await sender.sendMessages(batch);
    const messages = await receive(receiver, 50);
    assert.deepEqual(bodies(messages), sent);
    await completeAll(receiver, messages);
  },

  async largeBodies(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    await sender.sendMessages(one("x".repeat(200_000)));
    const [message] = await receive(receiver, 1);
    assert.equal(message.body.length, 200_000);
    await receiver.completeMessage(message);
    await refused("MessageSizeExceeded", sender.sendMessages(one("x".repeat(300_000))));
  },

  async abandonUntilDead(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    await sender.sendMessages(one("again"));
    for (let delivery = 0; delivery < 3; delivery += 1) {
      const [message] = await receive(receiver, 1);
      assert.equal(message.deliveryCount, delivery);
      await receiver.abandonMessage(message);
    }
    await none(receiver);
    const dead = client.createReceiver("plain", { subQueueType: "deadLetter" });
    const [message] = await receive(dead, 1);
    assert.equal(message.deadLetterReason, "MaxDeliveryCountExceeded");
    await dead.completeMessage(message);
  },

  async deadLetter(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    await sender.sendMessages(one("bad"));
    const [bad] = await receive(receiver, 1);
    await receiver.deadLetterMessage(bad, { deadLetterReason: "unreadable", deadLetterErrorDescription: "it has no key" });
    const dead = client.createReceiver("plain", { subQueueType: "deadLetter" });
    const [message] = await receive(dead, 1);
    assert.equal(message.deadLetterReason, "unreadable");
    assert.equal(message.deadLetterErrorDescription, "it has no key");
    await dead.completeMessage(message);
  },

  async defer(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    await sender.sendMessages(one("later"));
    const [first] = await receive(receiver, 1);
    await receiver.deferMessage(first);
    await none(receiver);
    const [message] = await receiver.receiveDeferredMessages([first.sequenceNumber]);
    assert.equal(message.body, "later");
    await receiver.completeMessage(message);
  },

  async scheduleAndCancel(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    const soon = new Date(Date.now() + 2_000);
    const numbers = await sender.scheduleMessages([one("s1"), one("s2")], soon);
    assert.equal(numbers.length, 2);
    await sender.cancelScheduledMessages(numbers[1]);
    await none(receiver);
    const [message] = await receive(receiver, 1);
    assert.equal(message.body, "s1");
    assert.ok(new Date() >= soon);
    await receiver.completeMessage(message);
    await none(receiver);
  },

  async renewAndLoseALock(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain", { maxAutoLockRenewalDurationInMs: 0 })];
    await sender.sendMessages(one("held"));
    const [held] = await receive(receiver, 1);
    const before = held.lockedUntilUtc;
    await pause(1_000);
    assert.ok((await receiver.renewMessageLock(held)) > before);
    await pause(5_500);
    await refused("MessageLockLost", receiver.renewMessageLock(held));
    await refused("MessageLockLost", receiver.completeMessage(held));
    const [message] = await receive(receiver, 1);
    assert.equal(message.deliveryCount, 1);
    await receiver.completeMessage(message);
  },

  async peek(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    await sender.sendMessages([one("p1"), one("p2"), one("p3")]);
    assert.deepEqual(bodies(await receiver.peekMessages(2)), ["p1", "p2"]);
    assert.deepEqual(bodies(await receiver.peekMessages(2)), ["p3"]);
    await completeAll(receiver, await receive(receiver, 3));
  },

  async subscribe(client) {
    const [sender, receiver] = [client.createSender("plain"), client.createReceiver("plain")];
    const seen = [];
    const subscription = receiver.subscribe({
      processMessage: async (message) => void seen.push(message.body),
      processError: async ({ error }) => void seen.push(error),
    });
    await sender.sendMessages([one("1"), one("2"), one("3")]);
    for (let tries = 0; tries < 50 && seen.length < 3; tries += 1) await pause(100);
    await subscription.close();
    assert.deepEqual(seen, ["1", "2", "3"]);
  },

  async receiveAndDelete(client) {
    await client.createSender("plain").sendMessages(one("once"));
    const receiver = client.createReceiver("plain", { receiveMode: "receiveAndDelete" });
    assert.deepEqual(bodies(await receive(receiver, 1)), ["once"]);
    assert.deepEqual(await receiver.peekMessages(1), []);
  },

  async duplicates(client) {
    const [sender, receiver] = [client.createSender("unique"), client.createReceiver("unique")];
    for (const body of ["first", "second"]) await sender.sendMessages({ body, messageId: "the same" });
    const messages = await receiver.receiveMessages(5, { maxWaitTimeInMs: 1_000 });
    assert.deepEqual(bodies(messages), ["first"]);
    await completeAll(receiver, messages);
  },

  async sessions(client) {
    const sender = client.createSender("sessions");
    for (const number of [0, 1, 2]) {
      for (const sessionId of ["a", "b"]) await sender.sendMessages(one(`${sessionId}${number}`, { sessionId }));
    }
    const a = await client.acceptSession("sessions", "a");
    await refused("SessionCannotBeLocked", client.acceptSession("sessions", "a"));
    const messages = await receive(a, 3);
    assert.deepEqual(bodies(messages), ["a0", "a1", "a2"]);
    await a.setSessionState("half way");
    assert.equal(await a.getSessionState(), "half way");
    const before = a.sessionLockedUntilUtc;
    await pause(1_000);
    assert.ok((await a.renewSessionLock()) > before);
    await a.deferMessage(messages[0]);
    const [deferred] = await a.receiveDeferredMessages([messages[0].sequenceNumber]);
    assert.equal(deferred.body, "a0");
    await completeAll(a, [deferred, messages[1], messages[2]]);
    await a.setSessionState(null);
    await a.close();
    const b = await client.acceptNextSession("sessions");
    assert.equal(b.sessionId, "b");
    assert.deepEqual(bodies(await b.peekMessages(5)), ["b0", "b1", "b2"]);
    await completeAll(b, await receive(b, 3));
    await b.close();
  },

  async topics(client) {
    const sent = [
      one("one", { applicationProperties: { colour: "red" } }),
      one("two", { applicationProperties: { colour: "blue" } }),
    ];
    await client.createSender("news").sendMessages(sent);
    for (const [name, expected] of [["all", ["one", "two"]], ["red", ["one"]]]) {
      const receiver = client.createReceiver("news", name);
      const messages = await receive(receiver, expected.length);
      assert.deepEqual(bodies(messages), expected);
      await completeAll(receiver, messages);
      assert.deepEqual(await receiver.peekMessages(1), []);
    }
  },

  async rules(client) {
    const manager = client.createRuleManager("news", "red");
    await manager.createRule("blue too", { applicationProperties: { colour: "blue" } });
    await manager.createRule("by label", { sqlExpression: "sys.label = 'x' AND colour = 'green'" });
    const rules = await manager.getRules();
    assert.deepEqual(rules.map(({ name }) => name).sort(), ["$Default", "blue too", "by label"]);
    const [blue] = rules.filter(({ name }) => name === "blue too");
    assert.deepEqual(blue.filter.applicationProperties, { colour: "blue" });
    await manager.deleteRule("blue too");
    await manager.deleteRule("by label");
  },

  async whatIsNotThere(client) {
    await refused("MessagingEntityNotFound", client.createSender("nothing").sendMessages(one("lost")));
  },

  async aWrongKey() {
    const client = new ServiceBusClient(CONNECTION.replace("SharedAccessKey=", "SharedAccessKey=x"), FEW_RETRIES);
    try {
      await refused("UnauthorizedAccess", client.createSender("plain").sendMessages(one("lost")));
    } finally {
      await client.close();
    }
  },
};

async function main() {
  const chosen = process.argv.slice(2);
  const names = Object.keys(cases).filter((name) => chosen.length === 0 || chosen.includes(name));
  let failed = 0;
  for (const name of names) {
    const client = new ServiceBusClient(CONNECTION, FEW_RETRIES);
    try {
      await cases[name](client);
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}: ${error.stack}`);
    }
    await client.close();
  }
  console.log(`${names.length - failed} of ${names.length} passed`);
  process.exitCode = failed ? 1 : 0;
}

main();
