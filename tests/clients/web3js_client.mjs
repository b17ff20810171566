// @solana/web3.js 1.x: each call through the method of Connection that says it; what Connection cannot say is left out.

import {
  AddressLookupTableAccount,
  AddressLookupTableProgram,
  Connection,
  Keypair,
  MessageV0,
  PublicKey,
  SendTransactionError,
  SolanaJSONRPCError,
  Transaction,
  TransactionInstruction,
  VersionedMessage,
  VersionedTransaction,
} from "@solana/web3.js";
import bs58 from "bs58";

import { main, NotExpressible, Queue, within } from "./interpreter.mjs";

const SUBSCRIBED_MS = 20_000;
const CONFIRMED = { commitment: "confirmed" };

const key = (text) => new PublicKey(text);

// PublicKey and Buffer speak as they do in the wire's JSON.
function filter(one) {
  return one.mint ? { mint: key(one.mint) } : one.programId ? { programId: key(one.programId) } : unsaid();
}

function unsaid() {
  throw new NotExpressible();
}

function only(config, ...names) {
  if (Object.keys(config ?? {}).some((name) => !names.includes(name))) unsaid();
  return config;
}

function parsed(config, otherwise, whenParsed) {
  if (config?.encoding === "jsonParsed") return whenParsed();
  if (config?.encoding && config.encoding !== "base64") unsaid();
  return otherwise();
}

function withoutEncoding(config) {
  const { encoding, ...rest } = config ?? {};
  return rest;
}

// A call of one commitment and nothing else beside its first parameters.
const plainly = (call, count) => (c, params) =>
  params.length > count + 1 ? unsaid() : call(c, ...params.slice(0, count), only(params[count], "commitment")?.commitment);

const CALLS = {
  getVersion: (c) => c.getVersion(),
  getGenesisHash: (c) => c.getGenesisHash(),
  getSlot: (c, [config]) => c.getSlot(only(config, "commitment", "minContextSlot")),
  getBlockHeight: (c, [config]) => c.getBlockHeight(config),
  getSlotLeader: (c, [config]) => c.getSlotLeader(config),
  getSlotLeaders: (c, [start, limit]) => c.getSlotLeaders(start, limit),
  getEpochInfo: (c, [config]) => c.getEpochInfo(config),
  getEpochSchedule: (c) => c.getEpochSchedule(),
  getLeaderSchedule: (c, params) => (params.length ? unsaid() : c.getLeaderSchedule()),
  getLatestBlockhash: (c, [config]) => c.getLatestBlockhash(config),
  isBlockhashValid: (c, [blockhash, config]) => c.isBlockhashValid(blockhash, config),
  getFirstAvailableBlock: (c) => c.getFirstAvailableBlock(),
  minimumLedgerSlot: (c) => c.getMinimumLedgerSlot(),
  getTransactionCount: (c, [config]) => c.getTransactionCount(config),
  getMinimumBalanceForRentExemption: plainly((c, length, level) => c.getMinimumBalanceForRentExemption(length, level), 1),
  getInflationGovernor: (c, [config]) => c.getInflationGovernor(config?.commitment),
  getInflationRate: (c) => c.getInflationRate(),
  getInflationReward: (c, [keys, config]) => c.getInflationReward(keys.map(key), config?.epoch, config?.commitment),
  getVoteAccounts: (c, [config]) => c.getVoteAccounts(only(config, "commitment")?.commitment),
  getClusterNodes: (c) => c.getClusterNodes(),
  getSupply: (c, [config]) => c.getSupply(config),
  getLargestAccounts: (c, [config]) => c.getLargestAccounts(config),
  getRecentPerformanceSamples: (c, [limit]) => c.getRecentPerformanceSamples(limit),
  getBlockProduction: (c, [config]) => c.getBlockProduction(config),
  getStakeMinimumDelegation: (c, [config]) => c.getStakeMinimumDelegation(config),
  getBalance: (c, [account, config, ...more]) => (more.length || typeof account !== "string" ? unsaid() : c.getBalance(key(account), config)),
  getAccountInfo: (c, [account, config]) =>
    parsed(config, () => c.getAccountInfo(key(account), withoutEncoding(config)), () => c.getParsedAccountInfo(key(account), withoutEncoding(config))),
  getMultipleAccounts: (c, [accounts, config]) =>
    parsed(
      config,
      () => c.getMultipleAccountsInfoAndContext(accounts.map(key), withoutEncoding(config)),
      () => c.getMultipleParsedAccounts(accounts.map(key), withoutEncoding(config)),
    ),
  getProgramAccounts: (c, [program, config]) =>
    parsed(config, () => c.getProgramAccounts(key(program), config), () => c.getParsedProgramAccounts(key(program), withoutEncoding(config))),
  getTokenAccountBalance: plainly((c, account, level) => c.getTokenAccountBalance(key(account), level), 1),
  getTokenSupply: plainly((c, mint, level) => c.getTokenSupply(key(mint), level), 1),
  getTokenLargestAccounts: plainly((c, mint, level) => c.getTokenLargestAccounts(key(mint), level), 1),
  getTokenAccountsByOwner: (c, [owner, by, config]) =>
    parsed(
      config,
      () => c.getTokenAccountsByOwner(key(owner), filter(by), withoutEncoding(config)),
      () => c.getParsedTokenAccountsByOwner(key(owner), filter(by), config?.commitment),
    ),
  requestAirdrop: (c, [to, lamports]) => c.requestAirdrop(key(to), lamports),
  sendTransaction: (c, [text, config]) =>
    config?.encoding === "base64" ? c.sendEncodedTransaction(text, withoutEncoding(config)) : unsaid(),
  getSignatureStatuses: (c, [signatures, config]) => (Array.isArray(signatures) ? c.getSignatureStatuses(signatures, config) : unsaid()),
  getSignaturesForAddress: (c, [account, config]) => c.getSignaturesForAddress(key(account), withoutLevel(config), config?.commitment),
  getTransaction: (c, [signature, config]) =>
    config?.encoding === "jsonParsed"
      ? c.getParsedTransaction(signature, withoutEncoding(config))
      : config?.encoding && config.encoding !== "json"
        ? unsaid()
        : c.getTransaction(signature, withoutEncoding(config)),
  getFeeForMessage: (c, [message, config]) => c.getFeeForMessage(VersionedMessage.deserialize(Buffer.from(message, "base64")), config.commitment),
  getBlock: (c, [slot, config]) =>
    config?.encoding === "jsonParsed"
      ? c.getParsedBlock(slot, withoutEncoding(config))
      : (config?.encoding && config.encoding !== "json") || typeof slot !== "number"
        ? unsaid()
        : c.getBlock(slot, withoutEncoding(config)),
  getBlocks: (c, [start, end, config]) => c.getBlocks(start, end, config?.commitment),
  getBlockTime: (c, [slot]) => c.getBlockTime(slot),
  getRecentPrioritizationFees: (c, [keys]) => c.getRecentPrioritizationFees(keys && { lockedWritableAccounts: keys.map(key) }),
};

const SUBSCRIBE = {
  account: (c, tell, [account, config]) => c.onAccountChange(key(account), tell, bytes(config)),
  program: (c, tell, [program, config]) => c.onProgramAccountChange(key(program), tell, bytes(config)),
  logs: (c, tell, [wanted, config]) => c.onLogs(wanted.mentions ? one(wanted.mentions) : wanted, tell, config.commitment),
  signature: (c, tell, [signature, config]) => c.onSignature(signature, tell, config?.commitment),
  slot: (c, tell) => c.onSlotChange(tell),
  root: (c, tell) => c.onRootChange(tell),
};
const UNSUBSCRIBE = {
  account: "removeAccountChangeListener",
  program: "removeProgramAccountChangeListener",
  logs: "removeOnLogsListener",
  signature: "removeSignatureListener",
  slot: "removeSlotChangeListener",
  root: "removeRootChangeListener",
};

// Connection reads accounts' notifications as bytes only.
function bytes(config) {
  return config.encoding === "base64" ? config : unsaid();
}

function one(mentions) {
  return mentions.length === 1 ? key(mentions[0]) : unsaid();
}

function withoutLevel(config) {
  const { commitment, ...rest } = config ?? {};
  return rest;
}

class Web3Client {
  constructor(rpcUrl, websocketUrl, keypairs) {
    this.connection = new Connection(rpcUrl, { commitment: "confirmed", wsEndpoint: websocketUrl });
    this.keypairs = keypairs;
  }

  call(method, params) {
    const call = CALLS[method];
    return call ? call(this.connection, params) : unsaid();
  }

  slot() {
    return this.connection.getSlot("confirmed");
  }

  async airdrop(to, lamports) {
    const signature = await this.connection.requestAirdrop(key(to), lamports);
    await this.confirm(signature);
    return signature;
  }

  async transaction(step) {
    const latest = await this.connection.getLatestBlockhash("confirmed");
    const recentBlockhash = step.blockhash ?? latest.blockhash;
    const instructions = step.instructions.map(
      ({ program, accounts, data }) =>
        new TransactionInstruction({
          programId: key(program),
          keys: accounts.map(([text, flags]) => ({ pubkey: key(text), isSigner: flags.includes("s"), isWritable: flags.includes("w") })),
          data: Buffer.from(data, "hex"),
        }),
    );
    const signers = [step.payer, ...step.signers].map((name) => this.keypairs[name]);
    const feePayer = signers[0].publicKey;
    let wire;
    if (step.version === "legacy") {
      const transaction = new Transaction({ feePayer, blockhash: recentBlockhash, lastValidBlockHeight: latest.lastValidBlockHeight });
      transaction.add(...instructions);
      transaction.sign(...signers);
      wire = transaction.serialize();
    } else {
      const addressLookupTableAccounts = (step.tables ?? []).map(
        (table) => new AddressLookupTableAccount({ key: key(table.address), state: { addresses: table.addresses.map(key), deactivationSlot: 2n ** 64n - 1n } }),
      );
      const message = MessageV0.compile({ payerKey: feePayer, instructions, recentBlockhash, addressLookupTableAccounts });
      const transaction = new VersionedTransaction(message);
      transaction.sign(signers);
      wire = transaction.serialize();
    }
    if (step.corrupt) wire[1] ^= 1;
    return { wire: Uint8Array.from(wire), latest };
  }

  wire({ wire }) {
    return wire;
  }

  base58(wire) {
    return bs58.encode(wire);
  }

  async send({ wire, latest }, options, confirm) {
    const signature = await this.connection.sendRawTransaction(wire, options);
    if (confirm) await this.landed(signature, latest);
    return signature;
  }

  // Connection resolves for a transaction that failed when it was notified, and rejects with its bare error when it saw the status first.
  landed(signature, latest) {
    return this.connection.confirmTransaction({ signature, ...latest }, "confirmed").catch((error) => {
      if (error instanceof Error) throw error;
    });
  }

  simulate({ wire }, options) {
    return this.connection.simulateTransaction(VersionedTransaction.deserialize(wire), options);
  }

  async confirm(signature) {
    const latest = await this.connection.getLatestBlockhash("confirmed");
    await this.landed(signature, latest);
  }

  async subscribed(kind, params, refused) {
    // Connection only prints what the server refuses, and asks again for ever.
    if (refused) unsaid();
    const queue = new Queue();
    if (!SUBSCRIBE[kind]) unsaid();
    const id = SUBSCRIBE[kind](this.connection, (...told) => queue.push(told), params);
    await within(SUBSCRIBED_MS, `${kind} subscription`, this.standing(id));
    const end = () => (kind === "signature" ? null : this.connection[UNSUBSCRIBE[kind]](id));
    return { next: () => queue.next(), end };
  }

  // Connection has no public word for "the server has confirmed the subscription"; its own confirmTransaction waits for it in this way.
  standing(id) {
    return new Promise((resolve) => {
      const dispose = this.connection._onSubscriptionStateChange(id, (state) => {
        if (state !== "subscribed") return;
        dispose();
        resolve();
      });
    });
  }

  async lookupTable(authority) {
    const [made, table] = AddressLookupTableProgram.createLookupTable({
      authority: this.keypairs[authority].publicKey,
      payer: this.keypairs[authority].publicKey,
      recentSlot: await this.connection.getSlot("finalized"),
    });
    return { table: table.toBase58(), tableData: made.data.toString("hex") };
  }

  error(error) {
    if (error instanceof SendTransactionError) return { class: "SendTransactionError", message: error.message, logs: error.logs };
    if (error instanceof SolanaJSONRPCError) {
      return { class: "SolanaJSONRPCError", code: error.code, message: error.message, data: error.data };
    }
    return { class: error.constructor.name, message: error.message };
  }
}

await main(async (rpcUrl, websocketUrl, keypairs) => {
  const made = Object.entries(keypairs).map(([name, hex]) => [name, Keypair.fromSecretKey(Buffer.from(hex, "hex"))]);
  return new Web3Client(rpcUrl, websocketUrl, Object.fromEntries(made));
});
