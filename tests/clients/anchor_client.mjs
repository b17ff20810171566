// @anchor-lang/core through the real IDL: reads every account of every type, and works out made-up examples of all there is.
// node anchor_client.mjs IDL URL < JSON > JSON: {"read": {"Registry": "ValidatorSlot", …}} or {"examples": …}, both in idl_values.py's notation.

import { readFileSync } from "node:fs";

import anchor from "@anchor-lang/core";

const { AnchorProvider, BN, Program, web3 } = anchor;

const [, , idlPath, url] = process.argv;
const idl = JSON.parse(readFileSync(idlPath, "utf8"));
const types = new Map(idl.types.map((one) => [one.name, one.type]));
const connection = new web3.Connection(url, "confirmed");
const program = new Program(idl, new AnchorProvider(connection, null, { commitment: "confirmed" }));

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
const lower = (name) => name[0].toLowerCase() + name.slice(1);
const hex = (value) => Buffer.from(value).toString("hex");
const isNumber = (type) => /^[ui]\d+$/.test(type);
const isBytes = (type) => type === "bytes" || (type.array ?? [type.vec])[0] === "u8";
const element = (type) => (type.array ? type.array[0] : type.vec);

// What the client decoded, in the notation.
function plain(type, value) {
  if (isNumber(type)) return value.toString();
  if (type === "pubkey") return value.toBase58();
  if (isBytes(type)) return hex(value);
  if (typeof type === "string") return value;
  if ("option" in type) return value === null ? null : plain(type.option, value);
  if ("defined" in type) return plainDefined(types.get(type.defined.name), value);
  return [...value].map((one) => plain(element(type), one));
}

function plainDefined(definition, value) {
  if (definition.kind === "type") return plain(definition.alias, value);
  if (definition.kind === "struct") return plainFields(definition.fields ?? [], value);
  const [name] = Object.keys(value);
  const variant = definition.variants.find((one) => lower(one.name) === name);
  return variant.fields?.length ? { [variant.name]: plainFields(variant.fields, value[name]) } : variant.name;
}

const plainFields = (fields, value) =>
  Object.fromEntries(fields.map((field) => [field.name, plain(field.type, value[camel(field.name)])]));

// The notation, as the client takes it.
function native(type, value) {
  if (isNumber(type)) return Number(type.slice(1)) > 32 ? new BN(value) : Number(value);
  if (type === "pubkey") return new web3.PublicKey(value);
  if (type === "bytes") return Buffer.from(value, "hex");
  if (isBytes(type)) return [...Buffer.from(value, "hex")];
  if (typeof type === "string") return value;
  if ("option" in type) return value === null ? null : native(type.option, value);
  if ("defined" in type) return nativeDefined(types.get(type.defined.name), value);
  return value.map((one) => native(element(type), one));
}

function nativeDefined(definition, value) {
  if (definition.kind === "type") return native(definition.alias, value);
  if (definition.kind === "struct") return nativeFields(definition.fields ?? [], value);
  const name = typeof value === "string" ? value : Object.keys(value)[0];
  const { fields } = definition.variants.find((one) => one.name === name);
  return { [lower(name)]: fields?.length ? nativeFields(fields, value[name]) : {} };
}

const nativeFields = (fields, value) =>
  Object.fromEntries(fields.map((field) => [camel(field.name), native(field.type, value[field.name])]));

const defined = (name) => ({ defined: { name } });

// Bytes of a type that has only one size.
function size(type) {
  if (isNumber(type)) return Number(type.slice(1)) / 8;
  if (type === "pubkey") return 32;
  if (type === "bool") return 1;
  if (type.array) return size(type.array[0]) * type.array[1];
  return types.get(type.defined.name).fields.reduce((sum, field) => sum + size(field.type), 0);
}

// What stands behind an account's fields, which the client hands out as bytes only.
function tailOf(name, item, account, tail) {
  if (item === "bytes") return hex(tail.subarray(0, account.length));
  const bytes = size(defined(item));
  const items = [];
  for (let start = 0; start + bytes <= tail.length; start += bytes) {
    items.push(program.coder.types.decode(lower(item), tail.subarray(start, start + bytes)));
  }
  const used = name === "ValidatorSet" ? items.slice(0, account.count.toNumber()) : items.filter((one) => one.flags & 1);
  return used.map((one) => plain(defined(item), one));
}

async function read(tails) {
  const found = {};
  for (const { name } of idl.accounts) {
    const client = program.account[lower(name)];
    for (const { publicKey, account } of await client.all()) {
      const value = plain(defined(name), account);
      if (tails[name]) {
        const { data } = await connection.getAccountInfo(publicKey);
        value.tail = tailOf(name, tails[name], account, data.subarray(client.size));
      }
      (found[name] ??= {})[publicKey.toBase58()] = value;
    }
  }
  return found;
}

async function instruction(name, { args, accounts }) {
  const spec = idl.instructions.find((one) => one.name === name);
  const built = await program.methods[camel(name)](...spec.args.map((arg) => native(arg.type, args[arg.name])))
    .accountsStrict(Object.fromEntries(Object.entries(accounts).map(([account, key]) => [camel(account), key])))
    .instruction();
  return { data: hex(built.data), metas: built.keys.map((key) => [key.pubkey.toBase58(), key.isSigner, key.isWritable]) };
}

async function examples({ accounts, events, instructions }) {
  const account = (name, data) => plain(defined(name), program.coder.accounts.decode(lower(name), Buffer.from(data, "hex")));
  const event = (data) => program.coder.events.decode(Buffer.from(data, "hex").toString("base64"));
  const worked = { accounts: {}, events: {}, instructions: {} };
  for (const [name, { data }] of Object.entries(accounts)) worked.accounts[name] = account(name, data);
  for (const [name, { data }] of Object.entries(events)) worked.events[name] = plain(defined(name), event(data).data);
  for (const [name, given] of Object.entries(instructions)) {
    worked.instructions[name] = [];
    for (const one of given) worked.instructions[name].push(await instruction(name, one));
  }
  return worked;
}

const asked = JSON.parse(readFileSync(0, "utf8"));
const answer = asked.read ? await read(asked.read) : await examples(asked.examples);
process.stdout.write(JSON.stringify(answer));
