//! Fast against accurate, tensor by tensor: how many elements differ, and by how many steps.

use std::collections::HashMap;

use cnnip_accurate::{Simulator, TensorView};
use cnnip_fast::{Difference, Elements, Fast, Session};
use cnnip_package::ElementType;

use crate::level::{ACCURATE, Form, LevelError, failed};

/// Both levels of one network, and what they differ by so far.
pub struct Layers {
    session: Session,
    simulator: Simulator,
    rows: Vec<(String, Difference)>,
}

impl Layers {
    /// Both levels; `fast` must let all tensors be watched that are to be compared.
    #[must_use]
    pub fn new(fast: &Fast, simulator: Simulator) -> Self {
        Self { session: fast.session(), simulator, rows: vec![] }
    }

    /// Runs an example, on the same integers where an input has a scale, and adds the differences of every tensor that both have.
    ///
    /// # Errors
    /// What either level says.
    pub fn add(&mut self, inputs: &[Vec<f32>]) -> Result<(), LevelError> {
        let forms: Vec<Form> = self.simulator.inputs().map(Form::of).collect();
        for (index, (form, values)) in forms.iter().zip(inputs).enumerate() {
            let bytes = form.bytes(values).map_err(failed(ACCURATE))?;
            self.simulator.set_input(index, &bytes).map_err(failed(ACCURATE))?;
            let same = form.element.and_then(|element| integers(element, &bytes));
            let elements = same.map_or_else(|| Elements::Real(values.clone()), Elements::Integer);
            self.session.bind(index, &elements).map_err(failed(crate::level::FAST))?;
        }
        let mut fast: HashMap<String, Vec<i64>> = HashMap::new();
        let mut keep = |view: cnnip_fast::TensorView<'_>| {
            if let Some(codes) = view.codes() {
                fast.insert(view.tensor().name.clone(), codes);
            }
        };
        self.session.run_with(&mut |_, view| keep(view)).map_err(failed(crate::level::FAST))?;
        let rows = &mut self.rows;
        let compare = |view: TensorView<'_>| {
            let tensor = view.tensor();
            let exact = tensor.element.and_then(|element| integers(element, view.bytes()));
            let both = exact.zip(fast.get(&tensor.name));
            let Some(found) = both.and_then(|(exact, fast)| Difference::between(&exact, fast)) else { return };
            match rows.iter_mut().find(|(name, _)| *name == tensor.name) {
                Some((_, sum)) => sum.add(&found),
                None => rows.push((tensor.name.clone(), found)),
            }
        };
        self.simulator.run_with(compare).map_err(failed(ACCURATE))
    }

    /// The differences of every tensor, in the order of execution.
    #[must_use]
    pub fn rows(&self) -> &[(String, Difference)] {
        &self.rows
    }
}

/// Elements of 8 or 16 bits as integers; `None` for other types.
fn integers(element: ElementType, bytes: &[u8]) -> Option<Vec<i64>> {
    Some(match element {
        ElementType::Int8 => bytes.iter().map(|&byte| byte.cast_signed().into()).collect(),
        ElementType::Uint8 => bytes.iter().map(|&byte| byte.into()).collect(),
        ElementType::Int16 => bytes.as_chunks().0.iter().map(|&bytes| i16::from_le_bytes(bytes).into()).collect(),
        _ => return None,
    })
}
