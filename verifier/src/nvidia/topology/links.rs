//! NVLink of a machine in protected PCIe mode: every GPU names the same four
//! NVSwitches, every NVSwitch the same eight GPUs, and those named are those
//! that sent evidence.

use std::collections::BTreeSet;

use bastide_attestation::nvidia::Pdi;

use super::{Gpu, PPCIE_GPUS, PPCIE_SWITCHES, Switch, TopologyFault};

pub(super) fn check(gpus: &[Gpu<'_>], switches: &[Switch<'_>], faults: &mut Vec<TopologyFault>) {
    gpus_agree(gpus, faults);
    switches_agree(switches, faults);
    switches_are_those_named(gpus, switches, faults);
    gpus_are_those_named(gpus, switches, faults);
}

fn gpus_agree(gpus: &[Gpu<'_>], faults: &mut Vec<TopologyFault>) {
    for gpu in gpus {
        let (device, got) = (gpu.device, gpu.switches.len());
        if got != PPCIE_SWITCHES {
            faults.push(TopologyFault::SwitchesNamed { device, got });
        }
        if let Some(first) = gpus.first()
            && gpu.switches != first.switches
        {
            let first = first.device;
            faults.push(TopologyFault::SwitchesDiffer { device, first });
        }
    }
}

fn switches_agree(switches: &[Switch<'_>], faults: &mut Vec<TopologyFault>) {
    for switch in switches {
        let (device, got) = (switch.device, switch.gpus.len());
        match switch.certified {
            Some(certified) if certified != switch.pdi => faults.push(TopologyFault::SwitchIdentity {
                device,
                certified,
                reported: switch.pdi,
            }),
            _ => {}
        }
        if got != PPCIE_GPUS {
            faults.push(TopologyFault::GpusNamed { device, got });
        }
        if let Some(first) = switches.first()
            && switch.gpus != first.gpus
        {
            let first = first.device;
            faults.push(TopologyFault::GpusDiffer { device, first });
        }
    }
}

fn switches_are_those_named(gpus: &[Gpu<'_>], switches: &[Switch<'_>], faults: &mut Vec<TopologyFault>) {
    let named: BTreeSet<Pdi> = gpus.iter().flat_map(|gpu| &gpu.switches).copied().collect();
    let own: BTreeSet<Pdi> = switches.iter().map(|switch| switch.pdi).collect();
    for pdi in named.difference(&own) {
        faults.push(TopologyFault::SwitchUnknown { pdi: *pdi });
    }
    for switch in switches {
        if !named.contains(&switch.pdi) {
            let (device, pdi) = (switch.device, switch.pdi);
            faults.push(TopologyFault::SwitchUnnamed { device, pdi });
        }
    }
}

/// Who a GPU is, is known from its certificate alone, where that says it. One
/// of which it isn't known may be any of those named that sent no evidence.
fn gpus_are_those_named(gpus: &[Gpu<'_>], switches: &[Switch<'_>], faults: &mut Vec<TopologyFault>) {
    let named: BTreeSet<Pdi> = switches.iter().flat_map(|switch| &switch.gpus).copied().collect();
    let own: BTreeSet<Pdi> = gpus.iter().filter_map(|gpu| gpu.pdi).collect();
    let nameless = gpus.iter().filter(|gpu| gpu.pdi.is_none()).count();
    let unknown: Vec<_> = named.difference(&own).collect();
    if unknown.len() > nameless {
        for pdi in unknown {
            faults.push(TopologyFault::GpuUnknown { pdi: *pdi });
        }
    }
    for gpu in gpus {
        if let Some(pdi) = gpu.pdi
            && !named.contains(&pdi)
        {
            let device = gpu.device;
            faults.push(TopologyFault::GpuUnnamed { device, pdi });
        }
    }
}
