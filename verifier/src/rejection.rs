//! Every way an appraisal can end in anything but acceptance: a stable code,
//! the decision it leads to, what it means and what to do. Codes are only ever
//! added; a test requires a vector for each.

use core::fmt;

use bastide_attestation::Decision;

macro_rules! rejections {
    ($($name:ident = $code:literal, $decision:ident, $explanation:literal, $remedy:literal;)*) => {
        /// Why evidence was not accepted. Exhaustive on purpose: whoever
        /// matches on it learns of a new one when compiling.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rejection {
            $(
                #[doc = concat!("`", $code, "`: ", $explanation, ".")]
                $name,
            )*
        }

        impl Rejection {
            /// Every rejection.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Stable dotted code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The decision that it leads to.
            #[must_use]
            pub const fn decision(self) -> Decision {
                match self { $(Self::$name => Decision::$decision),* }
            }

            /// What it means, as a sentence without its full stop.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation),* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy),* }
            }
        }
    };
}

rejections! {
    // Form of the report.
    ReportLength = "snp.report.length", Malformed,
        "the SNP report does not have 1,184 bytes",
        "check that the file is the raw report, without a header and not in text form";
    ReportVersion = "snp.report.version", Unsupported,
        "the SNP report is of a version that this verifier does not know",
        "update the verifier; a newer firmware may have introduced the version";
    ReportReserved = "snp.report.reserved", Malformed,
        "a byte of the SNP report that must be zero is not",
        "treat the report as altered; if it comes from new firmware, update the verifier";
    ReportAlgorithm = "snp.report.signature_algorithm", Unsupported,
        "the SNP report is not signed with ECDSA P-384 and SHA-384",
        "ask the operator which firmware made the report";
    KeyInfoReserved = "snp.key_info.reserved", Malformed,
        "a bit of KEY_INFO that must be zero is not",
        "treat the report as altered; if it comes from new firmware, update the verifier";
    ChipKeyMasked = "snp.key_info.masked", Rejected,
        "the host set MASK_CHIP_KEY, so that the firmware wrote no signature",
        "ask the operator to clear MASK_CHIP_KEY in the platform configuration";
    SigningKeyUnknown = "snp.key_info.signing_key", Unsupported,
        "the report was signed by neither a VCEK nor a VLEK",
        "ask the operator for a report signed by the chip's VCEK";
    ProductUnknown = "snp.product.unknown", Unsupported,
        "the processor named in the report is none that this verifier knows",
        "update the verifier, or ask the operator which processor this is";
    TcbReserved = "snp.tcb.reserved", Malformed,
        "a TCB version in the report has a reserved byte that is not zero",
        "treat the report as altered; if it comes from new firmware, update the verifier";

    // Certificates.
    VekMissing = "snp.vek.missing", Undecided,
        "no endorsement key certificate (VCEK or VLEK) came with the report",
        "ask the operator to staple it, or give the file from AMD's key distribution service";
    ChainMissing = "snp.chain.missing", Undecided,
        "the certificates of AMD's root (ARK) and intermediate (ASK or ASVK) did not both come with the report",
        "ask the operator to staple them, or give AMD's cert_chain file for this product";
    ChainMalformed = "snp.chain.malformed", Malformed,
        "a certificate of the chain is not strict DER of the expected form",
        "fetch the chain again from AMD's key distribution service";
    RootUnknown = "snp.root.unknown", Rejected,
        "the chain does not end in a root that the policy relies on for this processor",
        "do not use this node; if it is a simulated one, a policy for development must say so";
    IntermediateUnknown = "snp.intermediate.unknown", Rejected,
        "the chain has no intermediate that is pinned under its root",
        "do not use this node: the root is known, but this key is revoked, foreign or for another kind of key";
    ChainAlgorithm = "snp.chain.algorithm", Rejected,
        "a certificate of the chain is not signed with RSASSA-PSS and SHA-384",
        "fetch the chain again from AMD's key distribution service";
    ChainName = "snp.chain.name", Rejected,
        "a certificate of the chain has another subject or issuer than AMD's hierarchy gives it",
        "fetch the chain again from AMD's key distribution service";
    ChainAuthority = "snp.chain.not_authority", Rejected,
        "a certificate of the chain may not issue certificates",
        "fetch the chain again from AMD's key distribution service";
    ChainValidity = "snp.chain.validity", Rejected,
        "a certificate of the chain is not valid at the time of the appraisal",
        "check this machine's clock, then fetch the chain again";
    ChainSignature = "snp.chain.signature", Rejected,
        "a certificate of the chain is not signed by the root",
        "do not use this node: its chain was altered";

    // Revocation.
    CrlMalformed = "snp.crl.malformed", Malformed,
        "the revocation list is not strict DER of the expected form",
        "ask the operator to staple AMD's revocation list anew";
    CrlSignature = "snp.crl.signature", Rejected,
        "the revocation list is not signed by the root of the chain",
        "do not use this node: its revocation list was altered or is another root's";
    CrlRevoked = "snp.crl.revoked", Rejected,
        "the root has revoked the intermediate that issued the endorsement key",
        "do not use this node";
    CrlMissing = "snp.crl.missing", Undecided,
        "the policy requires a revocation list and none came with the evidence",
        "ask the operator to staple AMD's revocation list, or set crl to \"soft\"";
    CrlStale = "snp.crl.stale", Undecided,
        "the policy requires a current revocation list and the one that came is not",
        "ask the operator to staple AMD's current revocation list; check this machine's clock";

    // The endorsement key's certificate.
    VekMalformed = "snp.vek.malformed", Malformed,
        "the endorsement key certificate is not strict DER of the expected form",
        "fetch it again from AMD's key distribution service";
    VekAlgorithm = "snp.vek.algorithm", Rejected,
        "the endorsement key certificate is not signed with RSASSA-PSS and SHA-384",
        "fetch it again from AMD's key distribution service";
    VekKey = "snp.vek.key", Rejected,
        "the endorsement key is not a key on P-384",
        "fetch its certificate again from AMD's key distribution service";
    VekName = "snp.vek.name", Rejected,
        "the endorsement key certificate has another subject or issuer than the report's kind of key has",
        "give the certificate of the key that signed this report: VCEK or VLEK, of this product";
    VekNotYetValid = "snp.vek.not_yet_valid", Rejected,
        "the endorsement key certificate is not valid yet at the time of the appraisal",
        "check this machine's clock";
    VekExpired = "snp.vek.expired", Rejected,
        "the endorsement key certificate had expired at the time of the appraisal",
        "ask the operator to fetch a new one; for recorded evidence give the time it was recorded";
    VekExtensionMissing = "snp.vek.extension_missing", Rejected,
        "the endorsement key certificate lacks an AMD extension that its kind must have",
        "fetch it again from AMD's key distribution service";
    VekExtensionMalformed = "snp.vek.extension_malformed", Malformed,
        "an AMD extension of the endorsement key certificate cannot be read",
        "fetch the certificate again from AMD's key distribution service";
    VekExtensionDuplicate = "snp.vek.extension_duplicate", Rejected,
        "the endorsement key certificate has the same extension twice",
        "do not use this node: no certificate of AMD's is like that";
    VekExtensionUnexpected = "snp.vek.extension_unexpected", Rejected,
        "the endorsement key certificate has an extension that its kind must not have",
        "do not use this node: no certificate of AMD's is like that";
    VekProduct = "snp.vek.product_mismatch", Rejected,
        "the endorsement key certificate is for another product than the report names",
        "give the certificate of the chip that made the report";
    VekSignature = "snp.vek.signature", Rejected,
        "the endorsement key certificate is not signed by the pinned intermediate",
        "do not use this node: its certificate was altered";
    TcbMismatch = "snp.vek.tcb_mismatch", Rejected,
        "the endorsement key was issued for another TCB version than the report says",
        "ask the operator to fetch the certificate for the report's REPORTED_TCB";
    ChipIdZero = "snp.vcek.chip_id_zero", Rejected,
        "the report names no chip, so that it cannot be tied to a chip's key",
        "ask the operator to clear MASK_CHIP_ID in the platform configuration";
    HwidMismatch = "snp.vcek.hwid_mismatch", Rejected,
        "the endorsement key was issued for another chip than the report names",
        "give the certificate of the chip that made the report";
    ReportSignature = "snp.report.signature", Rejected,
        "the report is not signed by the endorsement key",
        "do not use this node: the report was altered, or is another chip's";

    // Policy.
    VersionNotAllowed = "snp.report_version.not_allowed", Rejected,
        "the policy does not allow reports of this version",
        "add the version to report_versions if you accept it";
    ProductNotAllowed = "snp.product.not_allowed", Rejected,
        "the policy does not allow this processor",
        "add the product to products, with a TCB floor, if you accept it";
    KeyNotAllowed = "snp.key.not_allowed", Rejected,
        "the policy does not allow reports signed by this kind of key",
        "set key to the kind you accept";
    ProviderNotAllowed = "snp.vlek.provider_not_allowed", Rejected,
        "the VLEK belongs to a provider that the policy does not name",
        "add the provider to vlek_providers if you accept it";
    BelowFloor = "snp.tcb.below_floor", Rejected,
        "a TCB version of the platform lies below the policy's floor",
        "ask the operator to update the firmware; lower the floor only if you accept the vulnerabilities";
    GuestPolicyReserved = "snp.policy.reserved", Rejected,
        "the guest policy has a bit that the ABI does not define, or lacks bit 17",
        "ask the operator to correct the launch policy; if the firmware is new, update the verifier";
    Debug = "snp.policy.debug", Rejected,
        "the guest policy lets the host debug the guest, so that nothing in it is confidential",
        "ask the operator to launch without the debug bit";
    Migration = "snp.policy.migrate_ma", Rejected,
        "the guest policy lets a migration agent move the guest",
        "ask the operator to launch without the migration bit";
    Cxl = "snp.policy.cxl", Rejected,
        "the guest policy lets CXL memory hold the guest",
        "ask the operator to launch without the CXL bit";
    GuestPolicyBit = "snp.policy.bit_not_allowed", Rejected,
        "a bit of the guest policy is not as your policy demands",
        "ask the operator to launch with the guest policy that you demand, or change snp.guest_policy";
    PlatformUnknownBits = "snp.platform.unknown_bits", Rejected,
        "PLATFORM_INFO has a bit that this verifier does not know",
        "update the verifier; \"snp.platform.known\" in ignore lets unknown bits pass";
    AliasCheck = "snp.platform.alias_check", Rejected,
        "the platform did not check its memory for aliases (BadRAM, CVE-2024-21944)",
        "ask the operator to update the firmware so that ALIAS_CHECK_COMPLETE is set";
    PlatformBit = "snp.platform.bit_not_allowed", Rejected,
        "a bit of PLATFORM_INFO is not as your policy demands",
        "ask the operator to configure the host so, or change snp.platform_info";
    VmplNotAllowed = "snp.vmpl.not_allowed", Rejected,
        "the report was asked for at a privilege level that the policy does not allow",
        "ask the operator how the guest is built, then set vmpl to the level you accept";
    IdBlockNotAllowed = "snp.id_block.not_allowed", Rejected,
        "the guest was launched with an ID block and the policy forbids one",
        "ask the operator to launch without it, or set id_block to \"pinned\" and list the key in id_keys";
    IdKeyNotAllowed = "snp.id_key.not_allowed", Rejected,
        "the guest was not launched with an ID block signed by a key that the policy lists",
        "ask the operator whose ID block it is; list the key in id_keys if you trust it";
    AuthorKeyNotAllowed = "snp.author_key.not_allowed", Rejected,
        "the author key that vouches for the ID key is none that the policy lists",
        "ask the operator whose key it is; list it in author_keys if you trust it";
    LaunchNotAllowed = "snp.launch.not_allowed", Rejected,
        "the launch measurement is none that the policy lists",
        "compare it with the measurements of the release you trust, and pin those";
    ChipNotAllowed = "snp.chip.not_allowed", Rejected,
        "the chip is none that the policy lists",
        "ask the operator which chips they run, and list those that you vouch for in chips";
    HostDataNotAllowed = "snp.host_data.not_allowed", Rejected,
        "HOST_DATA is none that the policy lists",
        "ask the operator which configuration the host launched with, and pin it if you trust it";
    PinNotCurrent = "policy.pin_not_current", Rejected,
        "the value is pinned, but not for this time",
        "renew the pin in the policy if you still trust the value; check this machine's clock";

    // Azure confidential VMs: paravisor, vTPM and its quote.
    HclMalformed = "azure.hcl_report.malformed", Malformed,
        "the HCL report is not what its format says",
        "read NV index 0x01400001 of the vTPM again, whole; treat the report as altered if it stays so";
    HclVersion = "azure.hcl_report.version", Unsupported,
        "the HCL report is of a version that this verifier does not know",
        "update the verifier; a newer paravisor may have introduced the version";
    HclReportType = "azure.hcl_report.report_type", Unsupported,
        "the HCL report is around another kind of hardware report than SEV-SNP's",
        "use a VM of an SEV-SNP size: TDX is not supported";
    HclHashType = "azure.hcl_report.hash_type", Unsupported,
        "the HCL report hashes its runtime data with something else than SHA-256",
        "update the verifier; a newer paravisor may have changed the hash";
    RuntimeDataMismatch = "azure.runtime_data.mismatch", Rejected,
        "REPORT_DATA is not the SHA-256 of the runtime data followed by zeros",
        "do not use this node: the report is for something else, or the attestation key was exchanged";
    RuntimeDataMalformed = "azure.runtime_data.malformed", Malformed,
        "the paravisor's runtime data is not strict JSON with exactly one usable attestation key",
        "update the verifier; if it is new, ask the operator which paravisor the VM has";
    QuoteMalformed = "azure.quote.malformed", Malformed,
        "the vTPM's quote is not what its format says",
        "give what TPM2_Quote returned, and the PCR values of exactly the selection";
    QuoteKind = "azure.quote.kind", Rejected,
        "what the attestation key signed was not made by the TPM as a quote",
        "do not use this node: something else signed by that key is passed off as a quote";
    QuoteAlgorithm = "azure.quote.algorithm", Unsupported,
        "the vTPM's quote uses an algorithm that is not supported",
        "ask for a quote by RSASSA with SHA-256 over SHA-256 PCRs";
    QuoteSignature = "azure.quote.signature", Rejected,
        "the quote is not signed by the attestation key that the hardware report vouches for",
        "do not use this node: its quote was altered, or is another VM's";
    PcrDigest = "azure.quote.pcr_digest", Rejected,
        "the PCR values that came are not those that the quote is over",
        "do not use this node: its PCR values were altered or are in another order";
    QuoteNonce = "azure.quote.nonce", Rejected,
        "the quote's nonce is not what this session or this statement requires",
        "do not use this node: its quote is for something else";
    QuoteMissing = "azure.quote.missing", Undecided,
        "the policy pins PCRs and no quote came with the HCL report",
        "give the quote, its signature and the PCR values too";
    AzureNotAllowed = "azure.not_allowed", Rejected,
        "this is an Azure VM, where a paravisor of Azure's stands between guest and hardware, and the policy has no azure section",
        "use a policy that is written for Azure VMs, if you accept their paravisor";
    AzureRequired = "azure.required", Rejected,
        "the policy is for Azure VMs, and this is a bare SEV-SNP report, which no PCRs come with",
        "use a policy without an azure section for nodes that are no Azure VMs";
    PcrNotAllowed = "azure.pcr.not_allowed", Rejected,
        "a PCR that the policy pins has another value, or the quote is not over it",
        "compare the values with those of the image you trust, and pin these";

    // Session and model.
    ReportData = "session.report_data", Rejected,
        "REPORT_DATA is not what this session or this statement requires",
        "do not use this node: its report is for something else";
    Statement = "session.statement", Malformed,
        "the epoch statement is not strict CBOR of the defined shape",
        "update whichever of the two is older, the node or this verifier";
    Binding = "session.binding", Rejected,
        "the evidence is not bound to this TLS session",
        "look for a proxy that ends TLS between you and the node; else do not use this node";
    StatementDebug = "session.debug", Rejected,
        "the enclave says that it is a debug build",
        "ask the operator to run a release build";
    ModelNotAllowed = "model.not_allowed", Rejected,
        "the model that answers is none that the policy lists",
        "compare the manifest digest with the model you trust, and pin it";

    // GPUs: what the statement names.
    GpuNotExpected = "gpu.evidence.not_expected", Rejected,
        "the machine names GPU evidence, and the policy has no `[gpu]` section",
        "add a `[gpu]` section to the policy if machines with GPUs may see your prompts";
    GpuMissing = "gpu.evidence.missing", Rejected,
        "the policy asks for GPUs, and the machine vouches for none",
        "ask the operator why no GPU is attested, or remove `[gpu]` from the policy";
    GpuDigest = "gpu.evidence.digest", Rejected,
        "the GPU evidence is not the one that the statement names",
        "do not use this node: evidence was replaced on the way";
    GpuEvidenceMalformed = "gpu.evidence.malformed", Malformed,
        "the bundle of GPU evidence is not strict CBOR of the defined shape",
        "update client and node to the same release";

    // GPUs: authenticity.
    GpuReportMalformed = "gpu.report.malformed", Malformed,
        "a device's report is not one SPDM request and response of exact sizes",
        "check that the file is the raw report, cut to the length that NVML gave";
    GpuReportVersion = "gpu.report.version", Unsupported,
        "a device's report is not of SPDM 1.1",
        "update the verifier; newer firmware may have introduced the version";
    GpuNonceMismatch = "gpu.nonce.mismatch", Rejected,
        "a device answered another challenge",
        "do not use this node: its GPU evidence is old or another machine's";
    GpuChainMalformed = "gpu.chain.malformed", Malformed,
        "a device's certificates are not five strict X.509 certificates in PEM",
        "ask NVML for the attestation certificate chain, not the other one";
    GpuRootUnknown = "gpu.root.unknown", Rejected,
        "a device's chain does not end in a root that the policy relies on",
        "do not use this node; if it is a simulated one, a policy for development must say so";
    GpuChainName = "gpu.chain.name", Rejected,
        "a certificate has a name that NVIDIA gives no certificate at that place",
        "update the verifier if the GPU's family is new; else do not use this node";
    GpuChainInvalid = "gpu.chain.invalid", Rejected,
        "a certificate may not be used for what it is used for, or is of another algorithm",
        "do not use this node: its chain is not NVIDIA's";
    GpuChainValidity = "gpu.chain.validity", Rejected,
        "a certificate is not valid at the time of the appraisal",
        "check this machine's clock";
    GpuChainSignature = "gpu.chain.signature", Rejected,
        "a certificate is not signed by the next one",
        "do not use this node: its chain was altered or put together";
    GpuKind = "gpu.chain.kind", Rejected,
        "a GPU's report came with an NVSwitch's chain, or the other way round",
        "give each report its own chain";
    GpuSignatureInvalid = "gpu.report.signature", Rejected,
        "a device's report is not signed by the key of its chain",
        "do not use this node: the report was altered or is another device's";
    GpuOpaqueMalformed = "gpu.opaque.malformed", Malformed,
        "a report's opaque data can't be read strictly, or contradict themselves",
        "update the verifier if the driver is newer than it";
    GpuOpaqueVersion = "gpu.opaque.version", Unsupported,
        "a report's opaque data are of a version or type that this verifier does not know",
        "update the verifier; a newer driver may have introduced it";
    GpuFwidMissing = "gpu.fwid.missing", Rejected,
        "neither report nor certificate name the firmware that the key belongs to",
        "ask the operator for a driver of branch 550 or newer";
    GpuFwidMismatch = "gpu.fwid.mismatch", Rejected,
        "report and certificate name different firmware",
        "do not use this node";
    GpuDebug = "gpu.fwid.debug", Rejected,
        "the device's firmware can be debugged, was recovering, or was not secure",
        "do not use this node";

    // GPUs: the machine.
    GpuCount = "gpu.topology.count", Rejected,
        "there are more or fewer GPUs than the policy says",
        "compare `count` in `[gpu]` with the machine that you rent";
    GpuDuplicate = "gpu.topology.duplicate", Rejected,
        "the same device is in the evidence twice",
        "do not use this node: one GPU answers for several";
    GpuTopology = "gpu.topology.invalid", Rejected,
        "GPUs and NVSwitches do not make one machine of their mode",
        "ask the operator for evidence of all GPUs and all NVSwitches of the machine";
    GpuFamilyNotAllowed = "gpu.family.not_allowed", Rejected,
        "a GPU is of a family that the policy does not allow",
        "add the family to `families` in `[gpu]` if you trust it";
    GpuModeNotAllowed = "gpu.mode.not_allowed", Rejected,
        "a GPU is protected in a mode that the policy does not allow, or does not say in which",
        "add the mode to `modes` in `[gpu]` if you accept what it leaves open";
    GpuModeMixed = "gpu.mode.mixed", Rejected,
        "GPUs of one machine differ in family, mode or driver",
        "ask the operator to set up all GPUs alike";
    GpuDeviceNotAllowed = "gpu.device.not_allowed", Rejected,
        "a device is none that the policy lists",
        "compare the device's ueid with those of your machines, and pin it";
    GpuDriverBelow = "gpu.driver.below_minimum", Rejected,
        "the driver is older than the policy accepts, or of a branch that it does not list",
        "ask the operator to update the driver";
    GpuDriverDenied = "gpu.driver.denied", Rejected,
        "the driver is one that the policy denies",
        "ask the operator to update the driver";
    GpuVbiosBelow = "gpu.vbios.below_minimum", Rejected,
        "the VBIOS is older than the policy accepts, or of a kind that it does not list",
        "ask the operator to update the VBIOS";
    GpuVbiosDenied = "gpu.vbios.denied", Rejected,
        "the VBIOS is one that the policy denies",
        "ask the operator to update the VBIOS";

    // GPUs: reference manifests and measurements.
    RimMissing = "gpu.rim.missing", Undecided,
        "no reference manifest for a driver, VBIOS or switch came with the evidence",
        "ask the operator to staple it, or `bastide endorsements sync` it";
    RimMalformed = "gpu.rim.malformed", Malformed,
        "a reference manifest is not of the one form that NVIDIA publishes",
        "fetch the manifest again";
    RimNamespace = "gpu.rim.namespace", Unsupported,
        "a reference manifest uses a namespace that this verifier does not know",
        "update the verifier: what the namespace adds may be a condition";
    RimRootUnknown = "gpu.rim.root", Rejected,
        "a reference manifest's certificates do not end in a root that the policy relies on",
        "fetch the manifest from NVIDIA's service";
    RimChain = "gpu.rim.chain", Rejected,
        "a reference manifest's certificates do not make a chain",
        "fetch the manifest again";
    RimAltered = "gpu.rim.signature", Rejected,
        "a reference manifest is not the document that was signed",
        "fetch the manifest again: this one was altered";
    RimNotYetValid = "gpu.rim.not_yet_valid", Rejected,
        "a reference manifest's signer is not valid yet",
        "check this machine's clock";
    RimExpired = "gpu.rim.expired", Rejected,
        "a reference manifest's signer has expired",
        "`bastide endorsements sync` a newly signed one, or allow days of grace, or pin the file's digest";
    RimOther = "gpu.rim.mismatch", Rejected,
        "a reference manifest is for another family or kind of device",
        "fetch the manifest that the verdict names";
    GpuMeasurementConflict = "gpu.measurement.conflict", Rejected,
        "two manifests claim the same measurement",
        "report it to NVIDIA; no device can meet both";
    GpuMeasurementMismatch = "gpu.measurement.mismatch", Rejected,
        "a device measured something else than the manifests allow",
        "ask the operator to reboot the host and update driver and VBIOS; else do not use this node";

    // GPUs: revocation.
    GpuRevocationMissing = "gpu.revocation.missing", Undecided,
        "nothing that came says that a certificate was not revoked",
        "ask the operator to staple OCSP answers, or give them, or CRLs";
    GpuRevocationMalformed = "gpu.revocation.malformed", Malformed,
        "an answer about revocation is not strict DER of the expected form",
        "fetch the answer again";
    GpuRevocationSignature = "gpu.revocation.signature", Rejected,
        "an answer about revocation is not signed by the issuer, or by whom it delegated",
        "fetch the answer again: this one was altered";
    GpuRevocationStale = "gpu.revocation.stale", Rejected,
        "the answer about revocation is not current",
        "fetch a current answer; OCSP answers hold for a day";
    GpuRevoked = "gpu.revocation.revoked", Rejected,
        "a certificate was revoked",
        "do not use this node";
    GpuOnHold = "gpu.revocation.on_hold", Rejected,
        "a certificate is on hold, as those of unreleased drivers are",
        "ask the operator for a released driver";

    // GPUs: NVIDIA's remote service.
    NrasInvalid = "gpu.nras.invalid", Rejected,
        "the token of NVIDIA's remote service can't be relied on",
        "fetch token and keys again, for this nonce";
    NrasDisagrees = "gpu.nras.disagrees", Rejected,
        "NVIDIA's remote service and this verifier came to different results",
        "do not use this node; report both results";
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.explanation())
    }
}

#[cfg(test)]
mod tests {
    use super::Rejection;
    use bastide_attestation::Decision;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_dotted_and_every_text_is_there() {
        let codes: BTreeSet<_> = Rejection::ALL.iter().map(|rejection| rejection.code()).collect();
        assert_eq!(codes.len(), Rejection::ALL.len());
        for rejection in Rejection::ALL {
            let code = rejection.code();
            assert!(code.contains('.'), "{code}");
            assert!(
                code.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'.' || byte == b'_'),
                "{code}"
            );
            assert!(!rejection.explanation().is_empty() && !rejection.remedy().is_empty());
            assert!(!rejection.explanation().ends_with('.') && !rejection.remedy().ends_with('.'));
            assert_ne!(rejection.decision(), Decision::Accepted);
        }
    }
}
