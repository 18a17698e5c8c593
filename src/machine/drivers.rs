//! What drivers tell of their devices. Libraries are loaded when they are needed: nothing here panics
//! where one is missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::BackendName;

/// A device of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// As its maker calls it.
    pub name: String,
    /// Its own memory in bytes, where the driver tells.
    pub memory_bytes: Option<u64>,
}

/// A backend's driver, with what it has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// Found by it.
    pub devices: Vec<DeviceFacts>,
    /// Versions, by what they are of.
    pub versions: BTreeMap<String, String>,
    /// What is missing, with what helps.
    pub missing: Option<(String, String)>,
}

/// The driver behind `name`; nothing of one for a backend of the CPU. To be called before anything
/// else uses the backend.
pub(super) fn driver(name: BackendName) -> Driver {
    match name {
        #[cfg(feature = "cuda")]
        BackendName::Cuda => cuda::driver(),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => wgpu::driver(),
        _ => Driver::default(),
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::ffi::c_int;

    use cudarc::driver::result::device;
    use cudarc::{driver, nvrtc};

    use super::{DeviceFacts, Driver};
    use crate::panics;

    pub fn driver() -> Driver {
        let mut facts = Driver::default();
        // SAFETY: loads a library and lets it go again, if it is there.
        if !unsafe { driver::sys::is_culib_present() } {
            return missing(facts, "NVIDIA's driver (libcuda) is not there", "install the driver");
        }
        // SAFETY: as above.
        if unsafe { nvrtc::sys::is_culib_present() } {
            facts.versions.extend(nvrtc_version().map(|version| ("NVRTC".into(), version)));
        } else {
            facts = missing(
                facts,
                "NVRTC (libnvrtc) is not there",
                "install CUDA's packages cuda-nvrtc and cuda-cudart-dev, or name their folder in \
                 LD_LIBRARY_PATH and CUDA_PATH",
            );
        }
        // cudarc panics where a library lacks a function.
        match panics::catch(|| devices(&mut facts)) {
            Ok(Ok(())) => facts,
            Ok(Err(error)) => missing(facts, &format!("{error}"), "`nvidia-smi` should see a GPU"),
            Err(cause) => missing(facts, &cause, "install a newer driver"),
        }
    }

    /// The first thing that is missing counts.
    fn missing(mut facts: Driver, what: &str, remedy: &str) -> Driver {
        facts.missing.get_or_insert((what.to_string(), remedy.to_string()));
        facts
    }

    fn devices(facts: &mut Driver) -> Result<(), driver::DriverError> {
        // Of the kernel's module; the other one is that of the interface.
        let module = std::fs::read_to_string("/sys/module/nvidia/version");
        facts.versions.extend(module.map(|v| ("driver".to_string(), v.trim().to_string())));
        let mut version: c_int = 0;
        // SAFETY: the library is there, and writes one number.
        unsafe { driver::sys::cuDriverGetVersion(&mut version) }.result()?;
        facts.versions.insert("CUDA".into(), format!("{}.{}", version / 1000, version % 1000 / 10));
        driver::result::init()?;
        for n in 0..device::get_count()? {
            let found = device::get(n)?;
            // SAFETY: the driver has just named this device.
            let memory = unsafe { device::total_mem(found) }?;
            facts.devices.push(DeviceFacts {
                name: device::get_name(found)?,
                memory_bytes: Some(memory as u64),
            });
        }
        Ok(())
    }

    fn nvrtc_version() -> Option<String> {
        let (mut major, mut minor): (c_int, c_int) = (0, 0);
        // SAFETY: the library is there, and writes two numbers.
        let status =
            panics::catch(|| unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) }).ok()?;
        status.result().ok()?;
        Some(format!("{major}.{minor}"))
    }
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use burn_wgpu::graphics::AutoGraphicsApi;
    use burn_wgpu::{RuntimeOptions, WgpuDevice, init_setup};

    use super::{DeviceFacts, Driver};
    use crate::panics;

    pub fn driver() -> Driver {
        // Without a driver it panics; the device is then tried in vain, which says so.
        let Ok(setup) = panics::catch(|| {
            init_setup::<AutoGraphicsApi>(&WgpuDevice::default(), RuntimeOptions::default())
        }) else {
            return Driver::default();
        };
        let about = setup.adapter.get_info();
        let driver = format!("{} {}", about.driver, about.driver_info);
        Driver {
            devices: vec![DeviceFacts { name: about.name, memory_bytes: None }],
            versions: [("driver", driver), ("interface", format!("{:?}", about.backend))]
                .into_iter()
                .map(|(of, version)| (of.to_string(), version.trim().to_string()))
                .filter(|(_, version)| !version.is_empty())
                .collect(),
            missing: None,
        }
    }
}
