"""Compares `bastide measure` with sev-snp-measure, the reference by others.

measure.py BASTIDE SYNTHETIC [OVMF...]: the command, the folder of synthetic images, real images.
Every comparison is of digests or blocks whole. Prints `N passed, M failed`; exits 1 on a failure.
"""

import base64
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

TYPES = ["EPYC-v4", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"]
VCPUS = [1, 4]
FEATURES = ["0x1", "0x21"]
APPENDS = ["", "console=ttyS0 root=/dev/dm-0 ro", " quiet  ", 'systemd.machine="é"']

bastide, synthetic, images = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
beside = pathlib.Path(sys.executable).parent
failures = []
passed = 0


def check(name, ours, theirs):
    global passed
    if ours == theirs and ours:
        passed += 1
    else:
        failures.append(name)
        print(f"FAILED {name}\n  bastide          {ours}\n  sev-snp-measure  {theirs}")


def run(*arguments):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def ours(*arguments):
    code, out, err = run(bastide, "measure", "--output", "json", *arguments)
    if code != 0:
        return code, err
    return code, json.loads(out)


def theirs(*arguments):
    code, out, err = run(beside / "sev-snp-measure", "--mode", "snp", *arguments)
    return out.strip() if code == 0 else f"exit {code}: {err.strip()[-300:]}"


def compare(image, name, *kernel):
    """All shapes at once of ours, one after another of theirs."""
    code, result = ours(
        "--ovmf", image, *kernel, "--vcpus", ",".join(map(str, VCPUS)),
        "--vcpu-type", ",".join(TYPES), "--guest-features", ",".join(FEATURES),
    )
    if code != 0:
        check(f"{name}: bastide measures it", result, None)
        return
    digests = {digest["shape"]: digest["measurement"] for digest in result["digests"]}
    check(f"{name}: number of shapes", len(digests), len(TYPES) * len(VCPUS) * len(FEATURES))
    for kind, vcpus, features in itertools.product(TYPES, VCPUS, FEATURES):
        reference = theirs(
            "--ovmf", image, *kernel, "--vcpus", vcpus, "--vcpu-type", kind, "--guest-features", features
        )
        check(f"{name}: {vcpus} {kind} {features}", digests.get(f"{vcpus}vcpu-{kind}-gf{features}"), reference)
    code, out, err = run(beside / "sev-snp-measure", "--mode", "snp:ovmf-hash", "--ovmf", image)
    check(f"{name}: digest of the image alone", result["ovmf"]["digest"], out.strip() or err)


def section_kinds(result):
    return [section["kind"] for section in result["ovmf"]["sections"]]


def kernels(folder, image):
    kernel, initrd = folder / "kernel", folder / "initrd"
    kernel.write_bytes(os.urandom(3_000_001))
    initrd.write_bytes(os.urandom(5_000_003))
    compare(image, "kernel", "--kernel", kernel)
    for append in APPENDS:
        arguments = ["--kernel", kernel, "--initrd", initrd, f"--append={append}"]
        compare(image, f"kernel, initrd, {append!r}", *arguments)
    (folder / "empty").write_bytes(b"")
    compare(image, "empty kernel and initrd", "--kernel", folder / "empty", "--initrd", folder / "empty")


def signatures(image):
    """The ways to say a vCPU that has no name."""
    for value, parts in [("0xa10f10", (25, 17, 0)), ("0xb00f21", (26, 2, 1)), ("0x806f8", (6, 0x8F, 8))]:
        code, result = ours("--ovmf", image, "--vcpus", "3", "--vcpu-sig", value)
        mine = result["digests"][0]["measurement"] if code == 0 else result
        check(f"signature {value}", mine, theirs("--ovmf", image, "--vcpus", 3, "--vcpu-sig", value))
        words = [
            word
            for name, part in zip(["--vcpu-family", "--vcpu-model", "--vcpu-stepping"], parts)
            for word in (name, part)
        ]
        code, result = ours("--ovmf", image, "--vcpus", "3", *words)
        mine = result["digests"][0]["measurement"] if code == 0 else result
        check(f"signature of {parts}", mine, theirs("--ovmf", image, "--vcpus", 3, *words))


def refusals(folder, image):
    """What they refuse is refused, for the same reason."""
    kernel = folder / "kernel"
    arguments = ["--ovmf", image, "--vcpus", "1", "--vcpu-type", "EPYC-v4", "--kernel", kernel]
    code, out, err = run(beside / "sev-snp-measure", "--mode", "snp", *arguments)
    check("they refuse a kernel without its section", (code != 0, "SNP_KERNEL_HASHES" in err), (True, True))
    code, err = ours(*arguments)
    check("and so do we", (code, "measure.kernel.no_section" in err), (2, True))


def scalar(number):
    return number.to_bytes(72, "little")


def verifies(key, message, signature):
    r, s = (int.from_bytes(signature[at : at + 72], "little") for at in (0, 72))
    key.public_key().verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA384()))
    return not any(signature[144:])


def id_blocks(folder, image):
    keys = {}
    forms = {"id": serialization.PrivateFormat.PKCS8, "author": serialization.PrivateFormat.TraditionalOpenSSL}
    for name, form in forms.items():
        keys[name] = ec.generate_private_key(ec.SECP384R1())
        pem = keys[name].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        (folder / f"{name}.pem").write_bytes(pem)
    code, result = ours(
        "--ovmf", image, "--vcpus", "4", "--vcpu-type", "EPYC-Genoa", "--id-out", folder,
        "--id-key", folder / "id.pem", "--author-key", folder / "author.pem",
    )
    if code != 0:
        check("ID block is made", result, None)
        return
    measurement = bytes.fromhex(result["digests"][0]["measurement"])
    code, out, err = run(
        beside / "snp-create-id-block", "--measurement", base64.b64encode(measurement).decode(),
        "--idkey", folder / "id.pem", "--authorkey", folder / "author.pem",
    )
    first, id_digest, author_digest = out.splitlines()
    block, auth = (base64.b64decode(part.split("=", 1)[1]) for part in first.split(",", 1))
    check("ID block", (folder / "id-block.b64").read_text(), base64.b64encode(block).decode())
    my_auth = base64.b64decode((folder / "id-auth.b64").read_text(), validate=True)
    # ECDSA is randomised: signatures differ, and each of both is verified in its place.
    unsigned = [bytes(a) for a in (my_auth, auth)]
    for place in (0x40, 0x680):
        unsigned = [a[:place] + bytes(512) + a[place + 512 :] for a in unsigned]
    check("ID authentication but for signatures", unsigned[0].hex(), unsigned[1].hex())
    for name, page in [("ours", my_auth), ("theirs", auth)]:
        check(f"signature over the block, {name}", verifies(keys["id"], block, page[0x40:0x240]), True)
        check(f"signature over the key, {name}", verifies(keys["author"], page[0x240:0x644], page[0x680:0x880]), True)
    for name, line, mine in [
        ("ID key digest", id_digest, "id_key_digest"),
        ("author key digest", author_digest, "author_key_digest"),
    ]:
        reference = base64.b64decode(line.split(": ", 1)[1]).hex()
        check(name, result["id_block"][mine], reference)


def real(image):
    code, result = ours("--ovmf", image, "--vcpus", "1", "--vcpu-type", "EPYC-v4")
    name = pathlib.Path(image).name
    if code == 0:
        print(f"{name}: {section_kinds(result)}")
        compare(image, name)
        return True
    # Builds without SEV metadata start no SNP guest; nothing else is excused.
    check(f"{name}: refused for want of SEV metadata", "measure.ovmf.no_metadata" in result, True)
    return False


with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    amd_sev, ovmf_x64 = synthetic / "amd-sev.fd", synthetic / "ovmf-x64.fd"
    compare(amd_sev, "no kernel")
    compare(ovmf_x64, "image for any kernel")
    kernels(folder, amd_sev)
    signatures(ovmf_x64)
    refusals(folder, ovmf_x64)
    id_blocks(folder, amd_sev)
    measured = [image for image in images if real(image)]
    print(f"{len(measured)} of {len(images)} real images have SEV metadata")

print(f"{passed} passed, {len(failures)} failed")
sys.exit(1 if failures else 0)
