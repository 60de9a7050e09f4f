// Runs every piece of evidence, at several times, under every shipped policy,
// whole and altered, through `bastide appraise` and through the module, and
// compares the verdicts byte for byte.
//   node parity.mjs MODULE BASTIDE WORK [VECTORS]
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [modulePath, bastide, work, vectors] = process.argv.slice(2);
const TIMES = ["2023-01-01T00:00:00Z", "2025-06-01T00:00:00Z", "2026-03-15T00:00:00Z", "2034-01-01T00:00:00Z"];
// Of each part of each piece of evidence.
const ALTERATIONS = 12;

const module = new WebAssembly.Module(readFileSync(modulePath));
const imports = WebAssembly.Module.imports(module);
if (imports.length > 0) {
  throw new Error(`the module must import nothing, but wants ${JSON.stringify(imports)}`);
}
const wasm = new WebAssembly.Instance(module).exports;

const lengthed = (bytes) => {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(bytes.length);
  return Buffer.concat([head, bytes]);
};

/** The module's answer, a JSON text. */
function inWasm({ report, vek, chain, crl }, policy, at) {
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE(BigInt(Date.parse(at) / 1000));
  const certificates = Buffer.concat(chain.map(lengthed));
  const parts = [report, vek, certificates, crl ?? Buffer.alloc(0), policy].map(lengthed);
  const request = Buffer.concat([...parts, time]);
  const pointer = wasm.bastide_alloc(request.length);
  new Uint8Array(wasm.memory.buffer, pointer, request.length).set(request);
  const answer = BigInt.asUintN(64, wasm.bastide_appraise(pointer, request.length));
  wasm.bastide_free(pointer, request.length);
  const [at32, length] = [Number(answer >> 32n), Number(answer & 0xffffffffn)];
  const text = Buffer.from(wasm.memory.buffer, at32, length).toString("utf8");
  wasm.bastide_free(at32, length);
  return text;
}

/** The command's answer, a JSON text and a newline. */
function natively(folder, { report, vek, chain, crl }, policy, at) {
  mkdirSync(folder, { recursive: true });
  const file = (name, bytes) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const args = ["appraise", "--output", "json", "--allow-simulated", "--at", at, "--policy", policy];
  args.push("--snp-report", file("report", report), "--vek", file("vek", vek));
  chain.forEach((certificate, index) => args.push("--chain", file(`chain-${index}`, certificate)));
  if (crl) args.push("--crl", file("crl", crl));
  return new Promise((resolve, reject) => {
    execFile(bastide, args, (error, stdout, stderr) => {
      // Any exit code of a verdict will do; a verdict must be there.
      stdout.startsWith("{") ? resolve(stdout) : reject(new Error(`${args.join(" ")}: ${error} ${stderr}`));
    });
  });
}

const read = (...path) => readFileSync(join(...path));

function der(...path) {
  const text = read(...path).toString("latin1");
  const blocks = [...text.matchAll(/-----BEGIN [^-]+-----([^-]+)-----END/g)];
  return blocks.map(([, base64]) => Buffer.from(base64, "base64"));
}

function evidence() {
  const found = ["genoa", "turin"].map((name) => ({
    name: `simulated ${name}`,
    report: read(work, "simulated", name, "report.bin"),
    vek: read(work, "simulated", name, "vcek.der"),
    chain: ["ask.der", "ark.der"].map((file) => read(work, "simulated", name, file)),
    crl: read(work, "simulated", name, "crl.der"),
  }));
  if (!vectors) return found;
  for (const [name, leaf, chain, crl] of [
    ["milan-v2", "vcek", "ask-ark-milan", "crl-milan"],
    ["genoa-v3", "vcek", "ask-ark-genoa", "crl-genoa"],
    ["genoa-v5", "vcek", "ask-ark-genoa", "crl-genoa"],
    ["turin-v5", "vcek", "ask-ark-turin", null],
    ["milan-vlek-aws-v3", "vlek", "asvk-ark-milan", "crl-milan"],
  ]) {
    found.push({
      name,
      report: read(vectors, name, "report.bin"),
      vek: read(vectors, name, `${leaf}.der`),
      chain: der(vectors, "endorsements", `${chain}.pem`),
      crl: crl && der(vectors, "endorsements", `${crl}.pem`)[0],
    });
  }
  return found;
}

/** Always the same numbers, so that a failure can be had again. */
let state = 1n;
function random(below) {
  state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
  return Number((state >> 33n) % BigInt(below));
}

function flipped(bytes) {
  const copy = Buffer.from(bytes);
  copy[random(copy.length)] ^= 1 << random(8);
  return copy;
}

function* altered(whole) {
  for (let index = 0; index < ALTERATIONS; index += 1) {
    yield { ...whole, report: flipped(whole.report) };
    yield { ...whole, vek: flipped(whole.vek) };
    yield { ...whole, chain: [flipped(whole.chain[0]), whole.chain[1]] };
    yield { ...whole, chain: [whole.chain[0], flipped(whole.chain[1])] };
    if (whole.crl) yield { ...whole, crl: flipped(whole.crl) };
  }
  yield { ...whole, report: whole.report.subarray(0, 1183) };
  yield { ...whole, report: Buffer.concat([whole.report, Buffer.alloc(1)]) };
  yield { ...whole, chain: [...whole.chain].reverse() };
  yield { ...whole, chain: whole.chain.slice(0, 1) };
  yield { ...whole, chain: [whole.vek, ...whole.chain] };
  yield { ...whole, vek: whole.chain[0] };
}

function* cases() {
  const folder = "policies";
  const policies = readdirSync(folder).filter((name) => name.endsWith(".toml")).sort();
  for (const whole of evidence()) {
    for (const name of policies) {
      for (const at of TIMES) {
        yield { evidence: whole, policy: join(folder, name), at };
        if (whole.crl) yield { evidence: { ...whole, crl: null }, policy: join(folder, name), at };
      }
    }
    // By a policy that knows its root, so that alterations are judged to the end.
    const knowing = whole.name.startsWith("simulated") ? "development" : "production";
    for (const one of altered(whole)) {
      yield { evidence: one, policy: join(folder, `${knowing}.toml`), at: TIMES[2] };
    }
  }
}

const left = cases();
const verdicts = {};
let [passed, failed] = [0, 0];
async function worker(index) {
  for (const { evidence, policy, at } of left) {
    const native = await natively(join(work, `case-${index}`), evidence, policy, at);
    const answer = `${inWasm(evidence, readFileSync(policy), at)}\n`;
    const { verdict, code } = JSON.parse(native);
    verdicts[code ?? verdict] = (verdicts[code ?? verdict] ?? 0) + 1;
    if (native === answer) {
      passed += 1;
    } else {
      failed += 1;
      console.error(`${evidence.name}, ${policy}, ${at}:\n  native ${native}  wasm   ${answer}`);
    }
  }
}
await Promise.all([worker(0), worker(1), worker(2)]);
for (const [verdict, count] of Object.entries(verdicts).sort()) console.log(`  ${verdict}: ${count}`);
// Evidence that is accepted must be among it, or little was compared.
if (!verdicts.accepted) failed += 1;
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
