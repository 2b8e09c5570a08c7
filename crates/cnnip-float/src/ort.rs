//! ONNX Runtime as an engine: its shared library is loaded when it is asked for.
//!
//! A network goes to it as the ONNX model that [`export_onnx`] writes: float operators, with `QuantizeLinear` and
//! `DequantizeLinear` around every quantized tensor. That these are fused into integer kernels, which give other results, is
//! switched off; all other optimizations are on. A session has one thread.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cnnip_graph::onnx::export_onnx;
use cnnip_graph::{ElementType, Graph, Tensor, TensorId};
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session as Runtime, SessionInputValue};
use ort::value::{DynValue, Tensor as Value};

use crate::{Elements, Engine, FloatError, Network, Session, Ties};

/// Where the library is looked for, if no path is given.
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// Its name there where neither says.
const LIBRARY: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// ONNX Runtime.
#[derive(Clone, Debug)]
pub struct Ort {
    environment: Environment,
}

/// A library that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ONNX Runtime's library {path} cannot be used: {why}")]
pub struct OrtError {
    /// Its path, or its name where the system looks for libraries.
    pub path: String,
    /// What the system or the library says.
    pub why: String,
}

impl Ort {
    /// Loads the library: from `path`, else from where `ORT_DYLIB_PATH` says, else from where the system finds it. A process loads
    /// it once; the first path counts.
    ///
    /// # Errors
    /// A library that is missing, or older than version 1.24.
    pub fn load(path: Option<&Path>) -> Result<Self, OrtError> {
        let variable = std::env::var_os(VARIABLE);
        let path = path.or(variable.as_deref().map(Path::new)).unwrap_or(Path::new(LIBRARY));
        let failed = |why: String| OrtError { path: path.display().to_string(), why };
        let builder = ort::init_from(path).map_err(|why| failed(why.to_string()))?;
        let environment = builder.with_name("cnnip").build().map_err(|why| failed(why.to_string()))?;
        Ok(Self { environment })
    }
}

impl Engine for Ort {
    fn name(&self) -> &'static str {
        "ort"
    }

    fn prepare(&self, graph: Arc<Graph>, watched: &[TensorId]) -> Result<Arc<dyn Network>, FloatError> {
        let mut shown = graph.outputs.clone();
        shown.extend(watched.iter().filter(|id| !graph.inputs.contains(id) && !graph.outputs.contains(id)));
        let exported = Graph { outputs: shown.clone(), ..(*graph).clone() };
        let model = export_onnx(&exported).map_err(runtime)?;
        let network = Prepared { graph, shown, model, environment: self.environment.clone(), made: Mutex::new(None) };
        // A model that the library refuses is refused here; the first session is this one.
        let first = network.make()?;
        *network.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
        Ok(Arc::new(network))
    }
}

fn runtime(why: impl ToString) -> FloatError {
    FloatError::Runtime { why: why.to_string() }
}

struct Prepared {
    graph: Arc<Graph>,
    /// The outputs of the model: those of the graph, then the watched tensors.
    shown: Vec<TensorId>,
    model: Vec<u8>,
    environment: Environment,
    /// A session that nobody uses yet.
    made: Mutex<Option<Runtime>>,
}

impl Prepared {
    fn make(&self) -> Result<Runtime, FloatError> {
        let builder = Runtime::builder(&self.environment).map_err(runtime)?;
        let builder = builder.with_intra_threads(1).map_err(runtime)?.with_inter_threads(1).map_err(runtime)?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(runtime)?;
        let mut builder = builder.with_quant_qdq(false).map_err(runtime)?;
        builder.commit_from_memory(&self.model).map_err(runtime)
    }
}

impl Network for Prepared {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        let runtime = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outputs = vec![vec![]; self.graph.outputs.len()];
        Box::new(Running { network: self, runtime, outputs })
    }
}

struct Running {
    network: Arc<Prepared>,
    /// Made at the first run, where none was left over.
    runtime: Option<Runtime>,
    outputs: Vec<Vec<f32>>,
}

impl Session for Running {
    fn run(&mut self, inputs: &[&[f32]], observer: &mut dyn FnMut(TensorId, &[f32])) -> Result<(), FloatError> {
        let Self { network, runtime: made, outputs } = self;
        let graph = &*network.graph;
        crate::error::check_inputs(graph, &inputs.iter().map(|input| input.len()).collect::<Vec<_>>())?;
        let session = match made {
            Some(session) => session,
            None => made.insert(network.make()?),
        };
        let mut values = vec![];
        for (&id, input) in graph.inputs.iter().zip(inputs) {
            let elements = Elements::nearest(&graph[id], input.to_vec(), Ties::Even);
            observer(id, &elements.real(&graph[id]));
            values.push(SessionInputValue::from(value(&graph[id], &elements)?));
        }
        let results = session.run(values.as_slice()).map_err(runtime)?;
        for (position, &id) in network.shown.iter().enumerate() {
            let value = results.get(graph[id].name.as_str()).ok_or_else(|| runtime("an output is missing"))?;
            let real = elements(&graph[id], value)?.real(&graph[id]);
            if !graph.inputs.contains(&id) {
                observer(id, &real);
            }
            if let Some(output) = outputs.get_mut(position) {
                *output = real;
            }
        }
        Ok(())
    }

    fn output(&self, index: usize) -> Option<&[f32]> {
        self.outputs.get(index).map(Vec::as_slice)
    }
}

/// Elements as the library takes them.
fn value(tensor: &Tensor, elements: &Elements) -> Result<DynValue, FloatError> {
    let shape: Vec<i64> = tensor.shape.dims().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
    macro_rules! integers {
        ($type:ty, $values:expr) => {{
            let values: Vec<$type> =
                $values.iter().map(|&value| <$type>::try_from(value).unwrap_or_default()).collect();
            Value::from_array((shape, values)).map(Value::into_dyn)
        }};
    }
    let made = match (elements, tensor.element) {
        (Elements::Real(values), ElementType::F32) => Value::from_array((shape, values.clone())).map(Value::into_dyn),
        (Elements::Integer(values), ElementType::I8) => integers!(i8, values),
        (Elements::Integer(values), ElementType::U8) => integers!(u8, values),
        (Elements::Integer(values), ElementType::I16) => integers!(i16, values),
        (Elements::Integer(values), ElementType::I32) => integers!(i32, values),
        (Elements::Integer(values), ElementType::I64) => integers!(i64, values),
        _ => return Err(runtime(format!("input `{}` has a type that is not passed on", tensor.name))),
    };
    made.map_err(runtime)
}

/// Elements as the library gives them.
fn elements(tensor: &Tensor, value: &DynValue) -> Result<Elements, FloatError> {
    macro_rules! integers {
        ($type:ty) => {{
            let (_, values) = value.try_extract_tensor::<$type>().map_err(runtime)?;
            Elements::Integer(values.iter().map(|&value| i64::from(value)).collect())
        }};
    }
    Ok(match tensor.element {
        ElementType::F32 => Elements::Real(value.try_extract_tensor::<f32>().map_err(runtime)?.1.to_vec()),
        ElementType::I8 => integers!(i8),
        ElementType::U8 => integers!(u8),
        ElementType::I16 => integers!(i16),
        ElementType::I32 => integers!(i32),
        ElementType::I64 => integers!(i64),
        _ => return Err(runtime(format!("tensor `{}` has a type that is not passed on", tensor.name))),
    })
}
