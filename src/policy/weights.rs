//! Weights by the hub's names: from safetensors, sharded or not, or from a GGUF file, dequantised.
//!
//! Owns the reading of both formats and the checks of names and shapes. A tensor is read when it is asked for, so that
//! no more than the model and one tensor are ever in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata};

use super::config::{Architecture, ModelConfig};
use super::error::PolicyError;

/// Largest header of a safetensors file, as the format's own library has it.
const MAX_HEADER: u64 = 100 << 20;

/// Named tensors of a checkpoint.
pub enum Weights {
    Safetensors(BTreeMap<String, Place>),
    Gguf { content: Box<gguf_file::Content>, file: RefCell<BufReader<File>>, path: PathBuf },
}

/// Where a tensor stands in a safetensors file.
#[derive(Clone, Debug)]
pub struct Place {
    file: PathBuf,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Bytes, from the start of the file.
    start: u64,
    size: usize,
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> PolicyError + '_ {
    |source| PolicyError::Read { path: path.to_owned(), source }
}

fn broken(path: &Path, detail: impl ToString) -> PolicyError {
    PolicyError::Weights { path: path.to_owned(), detail: detail.to_string() }
}

impl Weights {
    /// The safetensors of a folder: `model.safetensors`, or the shards that its index names.
    pub fn of_folder(folder: &Path) -> Result<Self, PolicyError> {
        let whole = folder.join("model.safetensors");
        if whole.exists() {
            return Ok(Weights::Safetensors(places(&whole)?));
        }
        let index = folder.join("model.safetensors.index.json");
        if !index.exists() {
            return Err(PolicyError::NoWeights { path: folder.to_owned() });
        }
        let text = std::fs::read_to_string(&index).map_err(unreadable(&index))?;
        let index_json: serde_json::Value = serde_json::from_str(&text).map_err(|e| broken(&index, e))?;
        let map = index_json.get("weight_map").and_then(|m| m.as_object());
        let map = map.ok_or_else(|| broken(&index, "it has no `weight_map`"))?;
        let mut files: Vec<&str> = map.values().filter_map(|f| f.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        let mut out = BTreeMap::new();
        for file in files {
            // A shard stands beside its index; anything else is not ours to open.
            if Path::new(file).file_name().is_none_or(|name| name != file) {
                return Err(broken(&index, format!("`{}` is not the name of a file beside it", file.escape_debug())));
            }
            out.extend(places(&folder.join(file))?);
        }
        Ok(Weights::Safetensors(out))
    }

    /// The tensors of one safetensors file.
    pub fn of_file(path: &Path) -> Result<Self, PolicyError> {
        Ok(Weights::Safetensors(places(path)?))
    }

    /// A GGUF file, with its metadata.
    pub fn of_gguf(path: &Path) -> Result<Self, PolicyError> {
        let mut file = BufReader::new(File::open(path).map_err(unreadable(path))?);
        let content = gguf_file::Content::read(&mut file).map_err(|e| broken(path, e))?;
        Ok(Weights::Gguf { content: Box::new(content), file: RefCell::new(file), path: path.to_owned() })
    }

    pub fn names(&self) -> Vec<String> {
        match self {
            Weights::Safetensors(places) => places.keys().cloned().collect(),
            Weights::Gguf { content, .. } => content.tensor_infos.keys().cloned().collect(),
        }
    }

    /// Shape of a tensor by the hub's name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self {
            Weights::Safetensors(places) => places.get(name).map(|p| p.shape.clone()),
            Weights::Gguf { content, .. } => {
                content.tensor_infos.get(&gguf_name(name)?).map(|t| t.shape.dims().to_vec())
            }
        }
    }

    /// A tensor by the hub's name, checked against the shape that the configuration gives it.
    pub fn get(
        &self,
        name: &str,
        shape: &[usize],
        config: &ModelConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, PolicyError> {
        let missing = || PolicyError::MissingTensor { name: name.to_owned(), path: self.path() };
        let found = self.shape(name).ok_or_else(missing)?;
        if found != shape {
            let expected = shape.to_vec();
            return Err(PolicyError::Shape { name: name.to_owned(), path: self.path(), expected, found });
        }
        match self {
            Weights::Safetensors(places) => {
                let tensor = places.get(name).ok_or_else(missing)?.read()?;
                Ok(tensor.to_device(device)?.to_dtype(dtype)?)
            }
            Weights::Gguf { content, file, path } => {
                let inner = gguf_name(name).ok_or_else(missing)?;
                let tensor =
                    content.tensor(&mut *file.borrow_mut(), &inner, &Device::Cpu).map_err(|e| broken(path, e))?;
                let tensor = unpermuted(tensor.dequantize(&Device::Cpu)?, name, config)?;
                Ok(tensor.to_device(device)?.to_dtype(dtype)?)
            }
        }
    }

    /// The file, or the first of several.
    fn path(&self) -> PathBuf {
        match self {
            Weights::Safetensors(places) => places.values().next().map_or_else(PathBuf::new, |p| p.file.clone()),
            Weights::Gguf { path, .. } => path.clone(),
        }
    }
}

/// The tensors that a safetensors file's header lists.
fn places(path: &Path) -> Result<BTreeMap<String, Place>, PolicyError> {
    let mut file = File::open(path).map_err(unreadable(path))?;
    let size = file.metadata().map_err(unreadable(path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| broken(path, format!("its {size} bytes hold no header")))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length + 8 > size {
        return Err(broken(path, format!("its header says {length} bytes, of {size} in the file: it is truncated")));
    }
    let mut header = Vec::new();
    (&mut file).take(length).read_to_end(&mut header).map_err(unreadable(path))?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| broken(path, e))?;
    let mut out = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let at = length + 8 + start as u64;
        if start > end || length + 8 + end as u64 > size {
            let detail = format!(
                "tensor `{}` does not lie within the file's {size} bytes: it is truncated",
                name.escape_debug()
            );
            return Err(broken(path, detail));
        }
        let (dtype, shape) = (info.dtype, info.shape.clone());
        out.insert(name, Place { file: path.to_owned(), dtype, shape, start: at, size: end - start });
    }
    Ok(out)
}

impl Place {
    fn read(&self) -> Result<Tensor, PolicyError> {
        let dtype = match self.dtype {
            Dtype::F32 => DType::F32,
            Dtype::BF16 => DType::BF16,
            Dtype::F16 => DType::F16,
            other => return Err(broken(&self.file, format!("tensors of type {other:?} are not supported"))),
        };
        let mut file = File::open(&self.file).map_err(unreadable(&self.file))?;
        file.seek(SeekFrom::Start(self.start)).map_err(unreadable(&self.file))?;
        let mut bytes = vec![0; self.size];
        file.read_exact(&mut bytes).map_err(unreadable(&self.file))?;
        Ok(Tensor::from_raw_buffer(&bytes, dtype, &self.shape, &Device::Cpu)?)
    }
}

/// The name of a tensor in GGUF files.
fn gguf_name(name: &str) -> Option<String> {
    let whole = match name {
        "model.embed_tokens.weight" => "token_embd.weight",
        "model.norm.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        _ => "",
    };
    if !whole.is_empty() {
        return Some(whole.to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let part = match part {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{part}.{kind}"))
}

/// llama.cpp stores queries and keys of the Llama family with the two halves of a head interleaved; this undoes it.
fn unpermuted(tensor: Tensor, name: &str, config: &ModelConfig) -> candle_core::Result<Tensor> {
    let heads = match () {
        () if config.architecture != Architecture::Llama => return Ok(tensor),
        () if name.contains("q_proj") => config.heads,
        () if name.contains("k_proj") => config.key_heads,
        () => return Ok(tensor),
    };
    let shape = tensor.shape().clone();
    tensor.reshape((heads, config.head_width / 2, 2, ()))?.transpose(1, 2)?.contiguous()?.reshape(shape)
}
