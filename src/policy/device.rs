//! Where a model is computed, and in which type.

use candle_core::{DType, Device};

use super::error::PolicyError;
use crate::options::{DeviceChoice, Precision};

/// A device that is there, and the type of weights on it.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub device: Device,
    pub dtype: DType,
}

impl Chosen {
    /// For people.
    pub fn name(&self) -> String {
        let place = if self.device.is_cpu() { "CPU" } else { "CUDA device 0" };
        format!("{place}, {}", self.dtype_name())
    }

    pub fn dtype_name(&self) -> &'static str {
        self.dtype.as_str()
    }
}

/// The device that was asked for; `auto` falls back to the CPU, `cuda` never does.
pub fn choose(device: DeviceChoice, precision: Precision) -> Result<Chosen, PolicyError> {
    let device = crate::device::place(device).map_err(|detail| PolicyError::Device { device: "cuda", detail })?;
    let dtype = match precision {
        Precision::Float32 => DType::F32,
        Precision::Bfloat16 => DType::BF16,
        Precision::Auto if device.is_cpu() => DType::F32,
        Precision::Auto => DType::BF16,
    };
    Ok(Chosen { device, dtype })
}
