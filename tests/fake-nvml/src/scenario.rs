//! What the fake answers: a text file of `name = value` lines, `#` before comments.
//!
//! ```text
//! driver = 550.90.07
//! capabilities = 3 1                 cpuCaps, gpusCaps
//! settings = 2 1 0 0                 environment, ccFeature, devToolsMode, multiGpuMode;
//! settings = 2 1 1 0                 a line per call, of which the last stays
//! ready = 0                          ready state at first
//! rotation = 62                      attacker advantage
//! memory = 83886080 0                protected and unprotected KiB
//! count = 8                          if NVML is to say another number than it has devices
//! device.0.architecture = 9
//! device.0.uuid = GPU-…
//! device.0.vbios = 96.00.9F.00.01
//! device.0.chain = /…/chain.pem      read when asked for, in place
//! device.0.report = /…/report.bin    likewise; its nonce is the recorded one
//! size.chain = 5121                  what NVML is to say of their sizes,
//! size.report = 4294967295           whatever it wrote
//! fail.nvmlDeviceGetUUID = 0 999     return codes of successive calls, then success
//! delay.nvmlDeviceGetUUID = 50       milliseconds
//! hang.nvmlDeviceGetUUID = yes       until `release` lies beside the scenario, or 60 s
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) architecture: u32,
    pub(crate) uuid: String,
    pub(crate) vbios: String,
    pub(crate) chain: PathBuf,
    pub(crate) report: PathBuf,
}

/// A scenario as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) driver: String,
    pub(crate) capabilities: [u32; 2],
    pub(crate) settings: Vec<[u32; 4]>,
    pub(crate) ready: u32,
    pub(crate) rotation: u64,
    pub(crate) memory: [u64; 2],
    pub(crate) count: Option<u32>,
    pub(crate) devices: Vec<Device>,
    pub(crate) chain_size: Option<u32>,
    pub(crate) report_size: Option<u32>,
    pub(crate) failures: BTreeMap<String, Vec<u32>>,
    pub(crate) delays: BTreeMap<String, u64>,
    pub(crate) hangs: Vec<String>,
}

impl Scenario {
    /// Reads the file `scenario` of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join("scenario");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("scenario `{}`: {error}", path.display()))?;
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut scenario = Self::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| format!("expected `name = value`, got `{line}`"))?;
            scenario
                .set(name.trim(), value.trim())
                .ok_or_else(|| format!("no such line: `{line}`"))?;
        }
        if scenario.settings.is_empty() {
            return Err("expected a line `settings`".to_owned());
        }
        Ok(scenario)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let (kind, rest) = name.split_once('.').unwrap_or((name, ""));
        match (kind, rest) {
            ("driver", "") => value.clone_into(&mut self.driver),
            ("capabilities", "") => self.capabilities = numbers(value)?.try_into().ok()?,
            ("settings", "") => self.settings.push(numbers(value)?.try_into().ok()?),
            ("ready", "") => self.ready = value.parse().ok()?,
            ("rotation", "") => self.rotation = value.parse().ok()?,
            ("memory", "") => self.memory = numbers(value)?.try_into().ok()?,
            ("count", "") => self.count = Some(value.parse().ok()?),
            ("size", "chain") => self.chain_size = Some(value.parse().ok()?),
            ("size", "report") => self.report_size = Some(value.parse().ok()?),
            ("fail", call) => drop(self.failures.insert(call.to_owned(), numbers(value)?)),
            ("delay", call) => drop(self.delays.insert(call.to_owned(), value.parse().ok()?)),
            ("hang", call) => self.hangs.push(call.to_owned()),
            ("device", rest) => {
                let (index, field) = rest.split_once('.')?;
                let index: usize = index.parse().ok().filter(|index| *index < 64)?;
                if index >= self.devices.len() {
                    self.devices.resize_with(index + 1, Device::default);
                }
                let device = self.devices.get_mut(index)?;
                match field {
                    "architecture" => device.architecture = value.parse().ok()?,
                    "uuid" => value.clone_into(&mut device.uuid),
                    "vbios" => value.clone_into(&mut device.vbios),
                    "chain" => device.chain = value.into(),
                    "report" => device.report = value.into(),
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn numbers<T: FromStr>(text: &str) -> Option<Vec<T>> {
    text.split_whitespace()
        .map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_line_by_line() {
        let text = "# Hopper\ndriver = 550.90.07\nsettings = 2 1 0 0\nsettings = 2 1 1 0\n\
            device.1.uuid = GPU-1\nfail.nvmlDeviceGetUUID = 0 999\nsize.report = 4294967295\n";
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.driver, "550.90.07");
        assert_eq!(scenario.settings, [[2, 1, 0, 0], [2, 1, 1, 0]]);
        assert_eq!(scenario.devices.len(), 2);
        assert_eq!(scenario.devices[1].uuid, "GPU-1");
        assert_eq!(scenario.failures["nvmlDeviceGetUUID"], [0, 999]);
        assert_eq!(scenario.report_size, Some(u32::MAX));
    }

    #[test]
    fn a_line_that_says_nothing_is_an_error_and_not_ignored() {
        for bad in [
            "settings = 2 1 0 0\nsetings = 2 1 0 0",
            "settings = 2 1 0",
            "settings 2 1 0 0",
            "settings = 2 1 0 0\ndevice.0.colour = green",
            "driver = 550.90.07",
        ] {
            assert!(Scenario::parse(bad).is_err(), "{bad}");
        }
    }
}
