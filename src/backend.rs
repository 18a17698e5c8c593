//! Runs a job on the backend chosen at run time.

use std::path::PathBuf;

use burn::prelude::DeviceOps;
use burn::tensor::Tensor;
use burn::tensor::backend::{Backend, DeviceId};

use crate::config::BackendName;
use crate::error::{Error, Result};
use crate::kernels::TrainingBackend;
use crate::panics;
use crate::world::Launch;

/// Work that is generic over the backend.
pub trait Job: Send {
    /// What comes out.
    type Output: Send;

    /// Does the work on `device`.
    ///
    /// # Errors
    /// Those of the work.
    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<Self::Output>;
}

/// Runs `job` on the backend `name`.
///
/// # Errors
/// When this program was built without that backend, or the machine has no such device.
pub fn run_on<J: Job>(name: BackendName, job: J) -> Result<J::Output> {
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => start::<burn::backend::Autodiff<burn_flex::Flex>, J>(name, job),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => {
            start::<burn::backend::Autodiff<burn_ndarray::NdArray<f32>>, J>(name, job)
        }
        #[cfg(feature = "cuda")]
        BackendName::Cuda => {
            keep_kernels();
            start::<burn::backend::Autodiff<burn_cuda::Cuda<f32, i32>>, J>(name, job)
        }
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => {
            start::<burn::backend::Autodiff<burn_wgpu::Wgpu<f32, i32>>, J>(name, job)
        }
        #[allow(unreachable_patterns)]
        missing => Err(not_built_in(missing)),
    }
}

/// Refuses the backend `name` where this program was built without it.
///
/// # Errors
/// As it says.
pub fn check_built_in(name: BackendName) -> Result<()> {
    if name.is_built_in() { Ok(()) } else { Err(not_built_in(name)) }
}

fn not_built_in(name: BackendName) -> Error {
    let feature = name.name();
    Error::value("backend", "a backend this program was built with", feature)
        .hint(format!("build it with `cargo build --release --features {feature}`"))
}

/// Where compiled kernels are kept from run to run: in the user's cache, if there is one.
pub fn kernel_cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    Some(cache.filter(|path| path.is_absolute()).or_else(home)?.join("platon"))
}

/// Keeps compiled kernels in the [`kernel_cache`], unless a `cubecl.toml` says otherwise: compiling
/// them takes half a minute.
#[cfg(feature = "cuda")]
fn keep_kernels() {
    use cubecl_runtime::config::cache::CacheConfig;
    use cubecl_runtime::config::{CubeClRuntimeConfig as Config, RuntimeConfig};
    let Some(folder) = kernel_cache() else { return };
    if Config::storage().lock().is_some() || std::fs::create_dir_all(&folder).is_err() {
        return;
    }
    let mut config = Config::from_current_dir().override_from_env();
    config.compilation.cache.get_or_insert(CacheConfig::File(folder));
    Config::set(config);
}

/// Starts rayon's threads with as much stack as a main thread has, since [`run_on`] works on one of
/// them. To be called before anything runs in parallel.
///
/// Processes of one `launch` divide the cores of their machine, unless RAYON_NUM_THREADS says how
/// many threads each has.
pub fn start_threads(launch: Option<Launch>) {
    /// Bytes.
    const STACK: usize = 8 << 20;
    let threads = rayon::ThreadPoolBuilder::new().stack_size(STACK);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match launch {
        Some(launch) if std::env::var_os("RAYON_NUM_THREADS").is_none() => {
            threads.num_threads(launch.threads(cores))
        }
        _ => threads,
    };
    // An error says that they run already, as in a program that uses this library.
    let _ = threads.build_global();
}

/// Runs `work` on one of rayon's threads, so that parallel loops inside it begin at once instead of
/// waking another thread and waiting for it. A single thread must stay free for others.
fn on_a_worker<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_num_threads() > 1 { rayon::scope(|_| work()) } else { work() }
}

#[allow(dead_code)]
fn start<B: TrainingBackend, J: Job>(name: BackendName, job: J) -> Result<J::Output> {
    let device = tried::<B>(&format!("backend {}", name.name()), B::Device::default, None)?;
    on_a_worker(|| job.run::<B>(device))
}

/// The devices that are to work on a run that begins with `device`: it, or with `all` those that can
/// work beside it, it or its like being the first. Processes of one launch divide the machine's.
///
/// # Errors
/// One of them is there but does not work.
pub fn devices<B: TrainingBackend>(device: &B::Device, all: bool) -> Result<Vec<B::Device>> {
    let launch = Launch::found();
    if !all && launch.is_none() {
        return Ok(vec![device.clone()]);
    }
    // Those of burn's first type: with CUDA there is no other, with wgpu they are the GPUs with
    // memory of their own.
    const TYPE: u16 = 0;
    let count = u16::try_from(B::device_count(TYPE)).unwrap_or(u16::MAX);
    if count < 2 {
        return Ok(vec![device.clone()]);
    }
    let device = |n| B::Device::from_id(DeviceId::new(TYPE, n));
    let (place, of) = launch.map_or((0, 1), |launch| (launch.local_rank, launch.local_size));
    let mut numbers = shared_out(usize::from(count), place, of);
    numbers.truncate(if all { numbers.len() } else { 1 });
    let devices = numbers.into_iter().filter_map(|n| u16::try_from(n).ok()).map(|n| {
        let name = format!("device {n}");
        let first = device(0);
        let tried = tried::<B>(&name, || device(n), B::HAS_PEERS.then_some(&first));
        tried.map_err(|e| match n {
            0 => e,
            _ => e.hint(
                "CUDA copies between GPUs by way of NCCL (libnccl), which a run begun without \
                 multi_gpu_on does not need",
            ),
        })
    });
    devices.collect()
}

/// Those of `count` devices that the process `place` of `of` on a machine has; where there are fewer
/// devices than processes, they share them.
fn shared_out(count: usize, place: usize, of: usize) -> Vec<usize> {
    let own: Vec<usize> = (0..count).filter(|n| n % of == place).collect();
    if own.is_empty() { vec![place % count.max(1)] } else { own }
}

/// Tries a device before it is used, and copies from `beside` and back: a backend without its
/// driver, or a library that it loads, panics at the first use.
fn tried<B: Backend>(
    name: &str,
    device: impl FnOnce() -> B::Device,
    beside: Option<&B::Device>,
) -> Result<B::Device> {
    let tried = panics::catch(|| {
        let device = device();
        B::seed(&device, 0);
        let beside = beside.unwrap_or(&device);
        let ones = Tensor::<B, 1>::ones([2], beside).to_device(&device);
        let sum = ones.sum().to_device(beside).into_data();
        let sum = sum.iter::<f32>().next();
        (device, sum)
    });
    let cause = match tried {
        Ok((device, Some(2.0))) => return Ok(device),
        Ok(_) => "a wrong sum in the first test".into(),
        Err(cause) => cause,
    };
    // Some libraries list every place they have looked in.
    let cause = cause.split(" - ").next().unwrap_or_default();
    Err(Error::run(format!("{name}: no usable device or driver: {cause}"))
        .hint("check the driver (`nvidia-smi`, `vulkaninfo`); the backend flex needs none"))
}

#[cfg(test)]
mod tests {
    use super::shared_out;

    #[test]
    fn processes_of_a_machine_divide_its_devices() {
        assert_eq!([0, 1].map(|place| shared_out(4, place, 2)), [vec![0, 2], vec![1, 3]]);
        assert_eq!([0, 1, 2].map(|place| shared_out(2, place, 3)), [vec![0], vec![1], vec![0]]);
        assert_eq!(shared_out(3, 0, 1), [0, 1, 2]);
    }
}
