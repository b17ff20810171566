// @solana/kit: its proxied RPC says every call of the script as it is; transactions, codecs, airdrops and confirmations are its own.

import {
  AccountRole,
  address,
  airdropFactory,
  appendTransactionMessageInstructions,
  blockhash,
  compileTransaction,
  compressTransactionMessageUsingAddressLookupTables,
  createKeyPairSignerFromBytes,
  createSolanaRpc,
  createSolanaRpcSubscriptions_UNSTABLE,
  createTransactionMessage,
  getBase58Decoder,
  getBase64EncodedWireTransaction,
  getProgramDerivedAddress,
  getSignatureFromTransaction,
  getTransactionEncoder,
  getU64Encoder,
  getAddressEncoder,
  isSolanaError,
  lamports,
  partiallySignTransaction,
  pipe,
  sendAndConfirmTransactionFactory,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
} from "@solana/kit";

import { main, NotExpressible, sleep } from "./interpreter.mjs";

const TABLES = address("AddressLookupTab1e1111111111111111111111111");
const ROLES = {
  "": AccountRole.READONLY,
  w: AccountRole.WRITABLE,
  s: AccountRole.READONLY_SIGNER,
  ws: AccountRole.WRITABLE_SIGNER,
};
const CONFIRMED = { commitment: "confirmed" };

class KitClient {
  constructor(rpcUrl, websocketUrl, signers) {
    this.rpc = createSolanaRpc(rpcUrl);
    this.subscriptions = createSolanaRpcSubscriptions_UNSTABLE(websocketUrl);
    this.signers = signers;
    this.requestAirdrop = airdropFactory({ rpc: this.rpc, rpcSubscriptions: this.subscriptions });
    this.sendAndConfirm = sendAndConfirmTransactionFactory({ rpc: this.rpc, rpcSubscriptions: this.subscriptions });
  }

  call(method, params) {
    return this.rpc[method](...params).send();
  }

  async slot() {
    return Number(await this.rpc.getSlot(CONFIRMED).send());
  }

  airdrop(to, amount) {
    return this.requestAirdrop({ ...CONFIRMED, recipientAddress: address(to), lamports: lamports(BigInt(amount)) });
  }

  async transaction(step) {
    const { value: latest } = await this.rpc.getLatestBlockhash(CONFIRMED).send();
    const lifetime = step.blockhash ? { ...latest, blockhash: blockhash(step.blockhash) } : latest;
    const instructions = step.instructions.map(({ program, accounts, data }) => ({
      programAddress: address(program),
      accounts: accounts.map(([key, flags]) => ({ address: address(key), role: ROLES[flags] })),
      data: Buffer.from(data, "hex"),
    }));
    const tables = Object.fromEntries((step.tables ?? []).map((table) => [table.address, table.addresses]));
    const message = pipe(
      createTransactionMessage({ version: step.version }),
      (m) => setTransactionMessageFeePayer(this.signers[step.payer].address, m),
      (m) => setTransactionMessageLifetimeUsingBlockhash(lifetime, m),
      (m) => appendTransactionMessageInstructions(instructions, m),
      (m) => (step.version === 0 ? compressTransactionMessageUsingAddressLookupTables(m, tables) : m),
    );
    const pairs = [step.payer, ...step.signers].map((name) => this.signers[name].keyPair);
    const signed = await partiallySignTransaction(pairs, compileTransaction(message));
    const transaction = { ...signed, lifetimeConstraint: lifetime };
    return step.corrupt ? corrupted(transaction, this.signers[step.payer].address) : transaction;
  }

  wire(transaction) {
    return getTransactionEncoder().encode(transaction);
  }

  base58(wire) {
    return getBase58Decoder().decode(wire);
  }

  async send(transaction, options, confirm) {
    if (confirm && !options.skipPreflight) {
      await this.sendAndConfirm(transaction, { ...CONFIRMED, ...options });
      return getSignatureFromTransaction(transaction);
    }
    const encoded = getBase64EncodedWireTransaction(transaction);
    const signature = await this.rpc.sendTransaction(encoded, { encoding: "base64", ...options }).send();
    if (confirm) await this.confirm(signature);
    return signature;
  }

  simulate(transaction, options) {
    const encoded = getBase64EncodedWireTransaction(transaction);
    return this.rpc.simulateTransaction(encoded, { encoding: "base64", ...options }).send();
  }

  async confirm(signature) {
    const reached = ["confirmed", "finalized"];
    for (;;) {
      const { value: [status] } = await this.rpc.getSignatureStatuses([signature]).send();
      if (reached.includes(status?.confirmationStatus)) return;
      await sleep(100);
    }
  }

  async subscribed(kind, params, refused) {
    // Of what has landed already the one notification may come together with the subscription's number, and kit then drops it; its own
    // confirmation, which `send` uses, therefore asks for the status too.
    if (kind === "signature" && !refused) throw new NotExpressible();
    const abort = new AbortController();
    const stream = await this.subscriptions[`${kind}Notifications`](...params).subscribe({ abortSignal: abort.signal });
    // The stream keeps what comes from the first call of `next` on, so one is always under way.
    const notifications = stream[Symbol.asyncIterator]();
    let coming = notifications.next();
    const next = async () => {
      const { value } = await coming;
      coming = notifications.next();
      coming.catch(() => {}); // it ends with the subscription
      return value;
    };
    coming.catch(() => {});
    return { next, end: async () => abort.abort() };
  }

  async lookupTable(authority) {
    const slot = await this.rpc.getSlot({ commitment: "finalized" }).send();
    const number = getU64Encoder().encode(slot);
    const seeds = [getAddressEncoder().encode(this.signers[authority].address), number];
    const [table, bump] = await getProgramDerivedAddress({ programAddress: TABLES, seeds });
    const data = Buffer.concat([Buffer.alloc(4), Buffer.from(number), Buffer.from([bump])]);
    return { table, tableData: data.toString("hex") };
  }

  error(error) {
    if (!isSolanaError(error)) throw error;
    const { __code: code, ...context } = error.context;
    delete context.signal;
    return { class: error.name, code, message: error.message, context, cause: error.cause ? this.error(error.cause) : null };
  }
}

function corrupted(transaction, payer) {
  const signature = Uint8Array.from(transaction.signatures[payer]);
  signature[0] ^= 1;
  return { ...transaction, signatures: { ...transaction.signatures, [payer]: signature } };
}

await main(async (rpcUrl, websocketUrl, keypairs) => {
  const made = Object.entries(keypairs).map(async ([name, hex]) => [
    name,
    await createKeyPairSignerFromBytes(Buffer.from(hex, "hex")),
  ]);
  return new KitClient(rpcUrl, websocketUrl, Object.fromEntries(await Promise.all(made)));
});
