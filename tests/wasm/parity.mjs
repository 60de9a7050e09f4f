// Runs every piece of evidence, at several times, under every shipped policy,
// whole and altered, through `bastide appraise` and through the module, and
// compares the verdicts byte for byte.
//   node parity.mjs MODULE BASTIDE WORK [VECTORS]
// GPUs are run under policies of gpuPolicies(), for the shipped ones are of one day.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [modulePath, bastide, work, vectors = "/nowhere"] = process.argv.slice(2);
const TIMES = ["2023-01-01T00:00:00Z", "2025-06-01T00:00:00Z", "2026-03-15T00:00:00Z", "2034-01-01T00:00:00Z"];
// Of each part of each piece of evidence.
const ALTERATIONS = 12;
// The same of GPUs, of which one verdict takes sixteen verifications and more.
const GPU_ALTERATIONS = 4;

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

const list = (parts) => Buffer.concat(parts.map(lengthed));

/** The module's answer, a JSON text. */
function inWasm(evidence, policy, at) {
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE(BigInt(Date.parse(at) / 1000));
  const { report, vek, chain, crl, devices, rims, ocsp } = evidence;
  const parts = devices
    ? [list(devices.map((one) => one.report)), list(devices.map((one) => one.chain)), list(rims), list(ocsp)]
    : [report, vek, list(chain), crl ?? Buffer.alloc(0)];
  const request = Buffer.concat([list([...parts, policy]), time]);
  const pointer = wasm.bastide_alloc(request.length);
  new Uint8Array(wasm.memory.buffer, pointer, request.length).set(request);
  const appraise = devices ? wasm.bastide_appraise_gpus : wasm.bastide_appraise;
  const answer = BigInt.asUintN(64, appraise(pointer, request.length));
  wasm.bastide_free(pointer, request.length);
  const [at32, length] = [Number(answer >> 32n), Number(answer & 0xffffffffn)];
  const text = Buffer.from(wasm.memory.buffer, at32, length).toString("utf8");
  wasm.bastide_free(at32, length);
  return text;
}

/** The command's answer, a JSON text and a newline. */
function natively(folder, { report, vek, chain, crl, devices, rims, ocsp }, policy, at) {
  mkdirSync(folder, { recursive: true });
  const file = (name, bytes) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const args = ["appraise", "--output", "json", "--allow-simulated", "--at", at, "--policy", policy];
  if (devices) {
    devices.forEach((device, index) => {
      args.push("--gpu-report", file(`gpu-report-${index}`, device.report));
      args.push("--gpu-chain", file(`gpu-chain-${index}`, device.chain));
    });
    rims.forEach((rim, index) => args.push("--rim", file(`rim-${index}`, rim)));
    ocsp.forEach((answer, index) => args.push("--ocsp", file(`ocsp-${index}`, answer)));
  } else {
    args.push("--snp-report", file("report", report), "--vek", file("vek", vek));
    chain.forEach((certificate, index) => args.push("--chain", file(`chain-${index}`, certificate)));
    if (crl) args.push("--crl", file("crl", crl));
  }
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
  if (!existsSync(join(vectors, "snp"))) return found;
  for (const [name, leaf, chain, crl] of [
    ["milan-v2", "vcek", "ask-ark-milan", "crl-milan"],
    ["genoa-v3", "vcek", "ask-ark-genoa", "crl-genoa"],
    ["genoa-v5", "vcek", "ask-ark-genoa", "crl-genoa"],
    ["turin-v5", "vcek", "ask-ark-turin", null],
    ["milan-vlek-aws-v3", "vlek", "asvk-ark-milan", "crl-milan"],
  ]) {
    found.push({
      name,
      report: read(vectors, "snp", name, "report.bin"),
      vek: read(vectors, "snp", name, `${leaf}.der`),
      chain: der(vectors, "snp", "endorsements", `${chain}.pem`),
      crl: crl && der(vectors, "snp", "endorsements", `${crl}.pem`)[0],
    });
  }
  return found;
}

/** GPUs: of the simulator, and recorded. */
function gpus() {
  const files = (folder, start, end) =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => name.startsWith(start) && name.endsWith(end))
          .sort((one, other) => one.localeCompare(other, "en", { numeric: true }))
          .map((name) => read(folder, name))
      : [];
  const within = (folder, name, ocsp) => {
    const chains = files(folder, "chain", ".pem");
    return {
      name,
      devices: files(folder, "report", ".bin").map((report, index) => ({ report, chain: chains[index] })),
      rims: files(folder, "", ".xml"),
      ocsp: files(ocsp, "", ".der"),
    };
  };
  const simulated = join(work, "simulated");
  const found = readdirSync(simulated)
    .filter((name) => name.startsWith("gpu"))
    .map((name) => within(join(simulated, name), `simulated ${name}`, join(simulated, name)));
  const recorded = join(vectors, "nvidia");
  if (!existsSync(recorded)) return found;
  for (const name of ["h100-550.90.07", "h100-580.159.03", "b200-575.32", "switch-ls10"]) {
    found.push(within(join(recorded, name), name, join(recorded, name, "ocsp")));
  }
  const machine = JSON.parse(read(recorded, "ppcie-8xh100-570.124.06", "evidence.json"));
  const base64 = (value) => Buffer.from(value["py/b64"] ?? value.pem ?? value, "base64");
  const pem = (blocks) => Buffer.concat(blocks.flatMap(({ pem }) => [base64(pem), Buffer.from("\n")]));
  found.push({
    name: "ppcie-8xh100",
    devices: [
      ...machine.gpus.map((gpu) => ({
        report: base64(gpu.AttestationReport),
        chain: pem(gpu.CertificateChains.GpuAttestationCertificateChain),
      })),
      ...machine.nvswitches.map((one) => ({
        report: base64(one.attestation_report),
        chain: pem(one.attestation_cert_chain),
      })),
    ],
    rims: files(join(recorded, "rim"), "NV_SWITCH", ".xml"),
    ocsp: [],
  });
  return found;
}

/** Policies that differ in what they ask about revocation, count and mode. */
function* gpuPolicies() {
  const text = read("tests", "python", "nvidia-policy.toml").toString("utf8");
  const roots = `nvidia = true
[[roots.gpu_extra]]
name = "simulation"
device_spki = "87713a0727514fa0b4d1601cefde284a088959b08756239ac276850086296fb3"
rim_spki = "279b4a6470a787066d058071089875b16618b0e7daa0a1d025c55614b115700b"
simulated = true`;
  const max = "revocation_max_age_hours = 2160";
  for (const revocation of ['"off"', `"soft"\n${max}`, `"hard"\n${max}`]) {
    for (const [count, mode] of [[1, "spt"], [8, "ppcie"]]) {
      const path = join(work, `gpu-${mode}-${revocation.slice(1, 5).replace('"', "")}.toml`);
      const whole = text
        .replace("\nROOTS", `\n${roots}`)
        .replace("\nREVOCATION", `\nrevocation = ${revocation}`)
        .replace("count = 1", `count = ${count}`)
        .replace('"spt"', `"${mode}"`);
      writeFileSync(path, whole);
      yield path;
    }
  }
}

function* alteredGpus(whole) {
  const changed = (index, change) => whole.devices.map((one, at) => (at === index ? { ...one, ...change } : one));
  for (let round = 0; round < GPU_ALTERATIONS; round += 1) {
    const index = random(whole.devices.length);
    const { report, chain } = whole.devices[index];
    yield { ...whole, devices: changed(index, { report: flipped(report) }) };
    yield { ...whole, devices: changed(index, { chain: flipped(chain) }) };
    for (const part of ["rims", "ocsp"]) {
      if (whole[part].length === 0) continue;
      const altered = [...whole[part]];
      const at = random(altered.length);
      altered[at] = flipped(altered[at]);
      yield { ...whole, [part]: altered };
    }
  }
  yield { ...whole, devices: [...whole.devices, whole.devices[0]] };
  yield { ...whole, rims: whole.rims.slice(1) };
  yield { ...whole, ocsp: whole.ocsp.slice(1) };
  yield { ...whole, devices: changed(0, { report: whole.devices[0].report.subarray(1) }) };
}

function* gpuCases() {
  const policies = [...gpuPolicies()];
  for (const whole of gpus()) {
    for (const policy of policies) {
      for (const at of ["2025-06-01T00:00:00Z", "2025-10-24T18:00:00Z", "2026-03-01T12:00:00Z", "2026-11-26T00:00:00Z"]) {
        yield { evidence: whole, policy, at };
      }
    }
    const lenient = policies.find((path) => path.includes(whole.devices.length > 1 ? "ppcie-soft" : "spt-soft"));
    const at = whole.name.startsWith("simulated") ? "2026-03-01T12:00:00Z" : "2025-06-01T00:00:00Z";
    for (const one of alteredGpus(whole)) yield { evidence: one, policy: lenient, at };
  }
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

function* all() {
  yield* cases();
  yield* gpuCases();
}

const left = all();
const verdicts = {};
let [passed, failed, gpusAccepted] = [0, 0, 0];
async function worker(index) {
  for (const { evidence, policy, at } of left) {
    const native = await natively(join(work, `case-${index}`), evidence, policy, at);
    const answer = `${inWasm(evidence, readFileSync(policy), at)}\n`;
    const { verdict, code } = JSON.parse(native);
    verdicts[code ?? verdict] = (verdicts[code ?? verdict] ?? 0) + 1;
    if (evidence.devices && verdict === "accepted") gpusAccepted += 1;
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
if (!verdicts.accepted || gpusAccepted === 0) failed += 1;
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
