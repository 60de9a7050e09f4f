"""Compares `bastide appraise` with NVIDIA's Python verifier and with signxml.

nvidia.py BASTIDE WORK [VECTORS]: the command, a folder with simulated GPUs in `simulated`, recorded GPUs.
NVIDIA's code runs as it is. Three things are put in its place, for there is no
GPU and no network here and the evidence is old: what NVML would give, answers
of OCSP responders, and the time that OpenSSL verifies certificates at.
Prints `N agreed, M disagreed`; exits 1 on a disagreement. Ours may refuse what
theirs accepts where bytes outside every signature are not as NVIDIA writes
them; that is counted apart, as `stricter`.
"""

import base64
import contextlib
import dataclasses
import datetime
import io
import json
import logging
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time
import types
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from OpenSSL import crypto

bastide = pathlib.Path(sys.argv[1]).resolve()
work = pathlib.Path(sys.argv[2]).resolve()
vectors = pathlib.Path(sys.argv[3]).resolve() if len(sys.argv) > 3 else None
policies = pathlib.Path(__file__).resolve().parent / "nvidia-policy.toml"

# Theirs logs into the folder that it is imported in.
os.chdir(work)
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
from lxml import etree  # noqa: E402
from signxml import XMLVerifier  # noqa: E402
from verifier import cc_admin  # noqa: E402
from verifier.cc_admin_utils import CcAdminUtils  # noqa: E402
from verifier.config import BaseSettings, HopperSettings  # noqa: E402
from verifier.nvml import NvmlHandlerTest  # noqa: E402

# Mutations of one manifest.
MUTATIONS = 200
# Always the same, so that a failure can be had again.
draw = random.Random(1)

clock = None
verify_context = crypto.X509StoreContext.__init__


def at_the_clock(self, store, certificate, chain=None):
    store.set_time(clock)
    verify_context(self, store, certificate, chain)


crypto.X509StoreContext.__init__ = at_the_clock


@dataclasses.dataclass
class Case:
    """One GPU with what endorses it, and the question that is asked."""

    name: str
    report: bytes
    chain: bytes
    driver: bytes
    vbios: bytes
    at: datetime.datetime
    roots: str
    device_root: pathlib.Path
    rim_root: pathlib.Path
    # Nobody is asked about revocation if there is no list of answers.
    ocsp: list | None = None
    nonce: bytes | None = None
    versions: tuple = ("550.90.07", "96.00.9f.00.01")
    # What theirs compares the byte NVDEC0_STATUS with.
    nvdec: object = BaseSettings.NVDEC_STATUS

    def but(self, name, **changes):
        return dataclasses.replace(self, name=f"{self.name}, {name}", **changes)

    def asked_nonce(self):
        return self.nonce or self.report[4:36]


def answer(case, request):
    """The recorded answer about the certificate that a request names."""
    serial = ocsp.load_der_ocsp_request(request).serial_number
    for response in map(ocsp.load_der_ocsp_response, case.ocsp):
        if response.serial_number == serial:
            return response
    raise LookupError("no answer about this certificate")


def run_theirs(case):
    """What NVIDIA's verifier decides, and says."""
    global clock
    clock = case.at
    said = io.StringIO()
    BaseSettings.DEVICE_ROOT_CERT, BaseSettings.RIM_ROOT_CERT = str(case.device_root), str(case.rim_root)
    BaseSettings.NVDEC_STATUS = case.nvdec
    if case.ocsp is None:
        # Certificates are of another type afterwards, as NVIDIA's own leaves them.
        CcAdminUtils.ocsp_certificate_chain_validation = staticmethod(lambda *_: (True, "", "good", None))
    CcAdminUtils.send_ocsp_request = staticmethod(lambda request: answer(case, request))
    for name, data in [("report.hex", case.report.hex().encode()), ("chain.pem", case.chain),
                       ("driver.xml", case.driver), ("vbios.xml", case.vbios)]:
        (work / name).write_bytes(data)
    HopperSettings.ATTESTATION_REPORT_PATH = str(work / "report.hex")
    HopperSettings.GPU_ATTESTATION_CERTIFICATES_PATH = str(work / "chain.pem")
    HopperSettings.DRIVER_RIM_PATH = str(work / "driver.xml")
    options = {"allow_hold_cert": False, "claims_version": "2.0", "ocsp_nonce_disabled": True, "verbose": False,
               "rim_service_url": None, "ocsp_url": None, "service_key": None, "rim_root_cert": str(case.rim_root),
               "test_no_gpu": True, "user_mode": True, "driver_rim": HopperSettings.DRIVER_RIM_PATH,
               "vbios_rim": str(work / "vbios.xml")}
    with contextlib.redirect_stdout(said):
        gpu = NvmlHandlerTest(settings=BaseSettings)
        gpu.DriverVersion, gpu.VbiosVersion = case.versions
        accepted, _ = cc_admin.attest(options, case.asked_nonce().hex(), [gpu])
    return bool(accepted)


def in_child(work_of_child):
    """In a process of its own, for NVIDIA's settings keep what they were told. Whatever fails is a refusal."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = b"accepted" if work_of_child() else b"refused"
        except BaseException as error:
            text = f"refused: {type(error).__name__}: {error}".encode()
        os.write(writing, text[:2000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    return text == "accepted", text


def appraise(case, rims):
    """Our verdict."""
    files = {"our-report.bin": case.report, "our-chain.pem": case.chain}
    files |= {f"our-rim-{index}.xml": rim for index, rim in enumerate(rims)}
    files |= {f"our-ocsp-{index}.der": one for index, one in enumerate(case.ocsp or [])}
    revocation = 'revocation = "off"' if case.ocsp is None else 'revocation = "hard"\nrevocation_max_age_hours = 2160'
    text = policies.read_text().replace("REVOCATION\n", revocation + "\n").replace("ROOTS\n", case.roots + "\n")
    files["policy.toml"] = text.encode()
    arguments = [bastide, "appraise", "--output", "json", "--allow-simulated",
                 "--policy", work / "policy.toml", "--at", case.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                 "--gpu-nonce", case.asked_nonce().hex()]
    flags = {"our-report": "--gpu-report", "our-chain": "--gpu-chain", "our-rim": "--rim", "our-ocsp": "--ocsp"}
    for name, data in files.items():
        (work / name).write_bytes(data)
        for start, flag in flags.items():
            if name.startswith(start):
                arguments += [flag, work / name]
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, timeout=120)
    if not done.stdout.startswith(b"{"):
        raise RuntimeError(f"{case.name}: no verdict: {done.stderr.decode()}")
    return json.loads(done.stdout)


tally = {"agreed": 0, "stricter": 0, "disagreed": 0}
accepted_by_both = 0


def compare(name, ours, theirs, why, may_be_stricter=False):
    global accepted_by_both
    if ours == theirs:
        tally["agreed"] += 1
        accepted_by_both += ours
    elif theirs and may_be_stricter:
        tally["stricter"] += 1
        if os.environ.get("VERBOSE"):
            print(f"stricter: {name}: {why}")
    else:
        tally["disagreed"] += 1
        print(f"DISAGREED {name}\n  bastide {'accepts' if ours else 'refuses'}, NVIDIA {'accepts' if theirs else 'refuses'}\n  {why}")


def decide(case, expected=None, may_be_stricter=False):
    verdict = appraise(case, [case.driver, case.vbios])
    ours = verdict["verdict"] == "accepted"
    theirs, said = in_child(lambda: run_theirs(case))
    why = f"{verdict.get('code')}: {verdict.get('reason')}; {said}"
    if os.environ.get("VERBOSE"):
        print(f"{case.name}: {why}")
    compare(case.name, ours, theirs, why, may_be_stricter)
    if expected is not None and ours != expected:
        tally["disagreed"] += 1
        print(f"UNEXPECTED {case.name}: {why}")


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1:]


def blocks(pem):
    return re.findall(rb"-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n?", pem)


def flipped_certificate(pem):
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    text = base64.b64encode(flipped(der, draw.randrange(len(der)))).decode()
    lines = [text[at:at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]).encode()


def alterations(case):
    """The case with one thing wrong each time."""
    for at in range(0, len(case.report), 53):
        # Of their own request: NVIDIA compares the nonce alone, and everything is signed.
        yield case.but(f"a bit in byte {at} of the report", report=flipped(case.report, at),
                       nonce=case.asked_nonce())
    yield case.but("another nonce", nonce=bytes(32))
    yield case.but("a report cut short", report=case.report[:-1])
    yield case.but("a signature of zeros", report=case.report[:-96] + bytes(96))
    certificates = blocks(case.chain)
    for index in range(5):
        for _ in range(4):
            altered = certificates[:index] + [flipped_certificate(certificates[index])] + certificates[index + 1:]
            yield case.but(f"a bit in certificate {index}", chain=b"".join(altered))
        yield case.but(f"without certificate {index}", chain=b"".join(certificates[:index] + certificates[index + 1:]))
    yield case.but("two certificates in each other's place",
                   chain=b"".join([certificates[0], certificates[2], certificates[1], *certificates[3:]]))
    yield case.but("the VBIOS's manifest for the driver's", driver=case.vbios)
    yield case.but("the driver's manifest for the VBIOS's", vbios=case.driver)
    for part in ["driver", "vbios"]:
        rim = getattr(case, part)
        digests = [found.start() for found in re.finditer(rb'Hash0="', rim)]
        for at in draw.sample(digests, 4):
            digit = rim[at + 7]
            other = b"0" if digit != ord("0") else b"1"
            yield case.but(f"another measurement in the manifest of the {part}",
                           **{part: rim[:at + 7] + other + rim[at + 8:]})
        yield case.but(f"another version in the manifest of the {part}",
                       **{part: re.sub(rb'colloquialVersion="(\w)', rb'colloquialVersion="9\1', rim)})
    yield case.but("before everything", at=datetime.datetime(2019, 1, 1))
    yield case.but("after the signers", at=datetime.datetime(2033, 1, 1))


def signed_as(case, rim):
    """Whether ours and signxml take a manifest's signature; what is in it is not asked."""
    verdict = appraise(case.but("", ocsp=None), [rim])
    checks = {check["id"]: check for check in verdict["checks"]}
    judged = [checks[name] for name in ["gpu.rim.signature", "gpu.rim.validity"] if name in checks]
    ours = len(judged) == 2 and all(check["status"] == "pass" for check in judged)

    def theirs():
        global clock
        clock = case.at
        root = etree.fromstring(rim, etree.XMLParser(resolve_entities=False))
        folder = str(case.rim_root.parent)
        return XMLVerifier().verify(root, ca_pem_file=str(case.rim_root), ca_path=folder).signed_xml is not None

    accepted, said = in_child(theirs)
    return ours, accepted, f"{verdict.get('code')}: {verdict.get('reason')}; {said}"


def signatures(case, rims):
    """Every manifest, and mutations of the first."""
    for name, rim in rims:
        compare(f"signature of {name}", *signed_as(case, rim))
    name, whole = rims[0]
    # No signature covers its own value and certificates, nor white space inside tags.
    unsigned = whole.index(b"<ds:SignatureValue>"), whole.index(b"</ds:Signature>")
    for _ in range(MUTATIONS):
        at = draw.randrange(len(whole))
        kind = draw.choice(["bit", "drop", "double"])
        rim = {"bit": flipped(whole, at), "drop": whole[:at] + whole[at + 1:],
               "double": whole[:at] + whole[at:at + 1] + whole[at:]}[kind]
        compare(f"signature of {name}, {kind} at {at}", *signed_as(case, rim),
                may_be_stricter=unsigned[0] <= at < unsigned[1] or whole[at:at + 1] == b" ")


def recorded():
    folder = vectors / "h100-550.90.07"
    [driver] = folder.glob("NV_GPU_DRIVER_*.xml")
    [vbios] = folder.glob("NV_GPU_VBIOS_*.xml")
    certs = pathlib.Path(cc_admin.__file__).parent / "certs"
    return Case("recorded H100", (folder / "report.bin").read_bytes(), (folder / "chain.pem").read_bytes(),
                driver.read_bytes(), vbios.read_bytes(), datetime.datetime(2025, 6, 1), "nvidia = true",
                certs / "verifier_device_root.pem", certs / "verifier_RIM_root.pem")


def simulated(name):
    folder = work / "simulated" / name
    chain = (folder / "chain-0.pem").read_bytes()
    driver, vbios = [(folder / f"rim-{index}.xml").read_bytes() for index in range(2)]
    device_root, rim_root = work / "device-root.pem", work / "rim-root.pem"
    device_root.write_bytes(blocks(chain)[4])
    last = re.findall(rb"<ds:X509Certificate>([^<]+)</ds:X509Certificate>", driver)[-1]
    rim_root.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + last.strip() + b"\n-----END CERTIFICATE-----\n")
    roots = """[[roots.gpu_extra]]
name = "simulation"
device_spki = "87713a0727514fa0b4d1601cefde284a088959b08756239ac276850086296fb3"
rim_spki = "279b4a6470a787066d058071089875b16618b0e7daa0a1d025c55614b115700b"
simulated = true"""
    return Case(f"simulated {name}", (folder / "report-0.bin").read_bytes(), chain, driver, vbios,
                datetime.datetime(2025, 10, 24, 18), roots, device_root, rim_root,
                ocsp=[path.read_bytes() for path in sorted(folder.glob("ocsp-*.der"))],
                versions=("580.159.03", "96.00.9f.00.01"))


def revocation(case):
    """Answers left out, altered and in question."""
    for index in range(len(case.ocsp)):
        rest = case.ocsp[:index] + case.ocsp[index + 1:]
        yield case.but(f"without answer {index}", ocsp=rest)
        one = case.ocsp[index]
        for _ in range(3):
            yield case.but(f"a bit in answer {index}", ocsp=[*rest, flipped(one, draw.randrange(len(one)))])


def times(case):
    """Medians of 21 appraisals of the same evidence, in turns: theirs within a process that has all of it loaded,
    ours as a process each time, of whatever build `bastide` is. OCSP is left out of both."""
    def run(one):
        began = time.perf_counter()
        one()
        return time.perf_counter() - began

    def both():
        run_theirs(case)
        pairs = [(run(lambda: run_theirs(case)), run(lambda: appraise(case, [case.driver, case.vbios])))
                 for _ in range(21)]
        theirs, ours = [statistics.median(column) * 1e3 for column in zip(*pairs)]
        os.write(2, f"medians of 21: NVIDIA's, loaded and warm, {theirs:.1f} ms; "
                    f"bastide, a process each time, {ours:.1f} ms: {ours / theirs:.2f} of it\n".encode())
        return True
    in_child(both)


def main():
    subjects = [simulated("gpu")]
    if vectors:
        subjects.append(recorded())
    for case in subjects:
        decide(case, expected=True)
        for altered in alterations(case):
            # Theirs puts its own root in the place of the one that came.
            decide(altered, may_be_stricter="a bit in certificate 4" in altered.name)
    for altered in revocation(subjects[0]):
        decide(altered)
    for name in ["gpu-mismatch", "gpu-expired", "gpu-revoked"]:
        decide(simulated(name), expected=False)
    # Theirs says to pass over measurement 35 of a disabled NVDEC0, but compares a byte with an enumeration,
    # and so never does. Its successor in C++ does; with a byte to compare with, so does theirs.
    decide(simulated("gpu-nvdec-off").but("with theirs mended", nvdec=types.SimpleNamespace(DISABLED=b"\x55")),
           expected=True)
    if vectors:
        case = recorded()
        late = case.but("with its answers", at=datetime.datetime(2025, 10, 24, 18), ocsp=[
            path.read_bytes() for path in sorted((vectors / "h100-550.90.07/ocsp").glob("*.der"))])
        # Its responders' certificates are not valid on the same day.
        decide(late, expected=False)
        decide(case.but("in November 2026", at=datetime.datetime(2026, 11, 26)), expected=False)
        other = (vectors / "rim/NV_GPU_DRIVER_GH100_550.144.03.xml").read_bytes()
        decide(case.but("another driver's manifest", driver=other), expected=False)
    for case in subjects:
        rims = [("the driver's manifest", case.driver), ("the VBIOS's manifest", case.vbios)]
        if case is not subjects[0]:
            rims += [(path.name, path.read_bytes()) for path in sorted((vectors / "rim").glob("*.xml"))]
        signatures(case, rims)
    if tally["disagreed"] == 0 and accepted_by_both < len(subjects):
        print("UNEXPECTED: little was accepted, so little was compared")
        tally["disagreed"] += 1
    times(subjects[-1])
    print(f"{tally['agreed']} agreed ({accepted_by_both} accepted), {tally['stricter']} stricter, "
          f"{tally['disagreed']} disagreed")
    sys.exit(1 if tally["disagreed"] else 0)


main()
