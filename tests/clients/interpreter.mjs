// Carries the script out for a client written in JavaScript, as interpreter.py does in Python: what a step means is in script.py.
// `node CLIENT.mjs RPC_URL WEBSOCKET_URL SCRIPT OUT`

import { readFileSync, writeFileSync } from "node:fs";

const NOTIFICATION_MS = 60_000;
const WAIT_MS = 60_000;

// The client's own interface has no way to say this call.
export class NotExpressible extends Error {}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Notifications that come by callback, as something to wait for.
export class Queue {
  #items = [];
  #waiting = [];

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter(item);
    else this.#items.push(item);
  }

  next() {
    if (this.#items.length) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

// JSON in which what JSON lacks still shows: 5n for a BigInt, base64 for bytes.
export function plain(value) {
  return JSON.parse(
    JSON.stringify(value, function (key, given) {
      const one = this[key]; // before toJSON
      if (typeof one === "bigint") return `${one}n`;
      if (one instanceof Uint8Array) return { bytes: Buffer.from(one).toString("base64") };
      return given === undefined ? null : given;
    }) ?? "null",
  );
}

// web3.js takes the `value` out of some answers itself.
function atPath(value, path) {
  const parts = path.split(".").filter((part) => part && !(part === "value" && !("value" in value)));
  return parts.reduce((inner, part) => inner[part], value);
}

class Interpreter {
  saved = {};
  outcomes = {};

  constructor(client, script) {
    this.client = client;
    this.script = script;
  }

  async run() {
    for (const step of this.script.steps) await this.step(step);
    return { saved: this.saved, outcomes: this.outcomes };
  }

  async step(step) {
    let result;
    try {
      result = plain(await this[step.do](step));
    } catch (error) {
      if (error instanceof NotExpressible) return;
      if (!step.name) throw error;
      this.outcomes[step.name] = { error: plain(this.client.error(error)) };
      return;
    }
    for (const [name, path] of Object.entries(step.save ?? {})) this.saved[name] = number(atPath(result, path));
    if (step.name) this.outcomes[step.name] = { result };
  }

  fill(value) {
    if (typeof value === "string" && value.startsWith("$")) return this.saved[value.slice(1)];
    if (Array.isArray(value)) return value.map((one) => this.fill(one));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, this.fill(one)]));
    }
    return value;
  }

  async call(step) {
    const result = await this.client.call(step.method, this.fill(step.params));
    if (step.confirm) await this.client.confirm(result);
    return result;
  }

  airdrop(step) {
    return this.client.airdrop(step.to, step.lamports);
  }

  async send(step) {
    const transaction = await this.client.transaction(this.fill(step));
    return this.client.send(transaction, step.options, step.confirm);
  }

  async simulate(step) {
    return this.client.simulate(await this.client.transaction(this.fill(step)), step.options);
  }

  async wire(step) {
    const wire = this.client.wire(await this.client.transaction(this.fill(step)));
    for (const name of Object.keys(step.save)) this.saved[`${name}58`] = this.client.base58(wire);
    return Buffer.from(wire).toString("base64");
  }

  async message(step) {
    const wire = this.client.wire(await this.client.transaction(this.fill(step)));
    const signatures = wire[0]; // less than 128, so one byte
    return Buffer.from(wire.slice(1 + 64 * signatures)).toString("base64");
  }

  async subscribe(step) {
    const { next, end } = await this.client.subscribed(step.kind, this.fill(step.params), step.refused);
    try {
      for (const inner of step.then) await this.step(inner);
      const told = [];
      while (told.length < step.count) told.push(await within(NOTIFICATION_MS, step.name, next()));
      return told;
    } finally {
      await end();
    }
  }

  async lookup_table(step) {
    Object.assign(this.saved, await this.client.lookupTable(step.authority));
  }

  async wait_slots(step) {
    const wanted = (await this.client.slot()) + step.count;
    const deadline = Date.now() + WAIT_MS;
    while ((await this.client.slot()) < wanted) {
      if (Date.now() > deadline) throw new Error(`slot ${wanted} was not reached`);
      await sleep(100);
    }
  }
}

function number(value) {
  return typeof value === "string" && /^\d+n$/.test(value) ? Number(value.slice(0, -1)) : value;
}

export async function main(connect) {
  const [rpcUrl, websocketUrl, scriptPath, outPath] = process.argv.slice(2);
  const script = JSON.parse(readFileSync(scriptPath, "utf8"));
  const client = await connect(rpcUrl, websocketUrl, script.keypairs);
  const recorded = await new Interpreter(client, script).run();
  writeFileSync(outPath, JSON.stringify(recorded));
  process.exit(0); // web3.js keeps its WebSocket open
}
