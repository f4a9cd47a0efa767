//! Where candle computes: the CPU, or the first CUDA device.

use candle_core::Device;

use crate::options::DeviceChoice;

/// The device that was asked for; `auto` falls back to the CPU, `cuda` never does.
///
/// # Errors
/// Why there is no CUDA device.
pub fn place(choice: DeviceChoice) -> Result<Device, String> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda => cuda(),
        DeviceChoice::Auto => Ok(cuda().unwrap_or(Device::Cpu)),
    }
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, String> {
    Device::new_cuda(0).map_err(|e| e.to_string().lines().next().unwrap_or_default().to_owned())
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, String> {
    Err("this build has no CUDA; build it with the cargo feature `cuda`".to_owned())
}

/// Whether there is a CUDA device that this build can use.
#[cfg(feature = "embed")]
pub fn has_cuda() -> bool {
    cuda().is_ok()
}
