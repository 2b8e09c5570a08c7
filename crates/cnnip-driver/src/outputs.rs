//! What a job that is done has made.

use cnnip_package::{Package, Tensor};

use crate::session::{names, unknown};
use crate::{BindError, Key, Recording, Session, Target, TensorView};

/// What a job took, all device steps together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Commands executed.
    pub commands: u64,
    /// Cycles from the first start to the last end, summed over the device steps. An estimate.
    pub cycles: u64,
}

impl Totals {
    /// Estimated time on a target, in microseconds.
    ///
    /// ```
    /// # use cnnip_driver::{Target, Totals};
    /// let v3h = Target::by_name("v3h").unwrap(); // 800 MHz
    /// assert_eq!(Totals { commands: 1, cycles: 8000 }.microseconds(v3h), 10.0);
    /// ```
    pub fn microseconds(&self, target: &Target) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate; exact below 2^53 cycles")]
        let cycles = self.cycles as f64;
        cycles / f64::from(target.clock_mhz)
    }
}

/// The tensors after a job, until the session is taken back for the next.
#[derive(Debug)]
pub struct Outputs {
    session: Session,
    totals: Totals,
}

impl Outputs {
    pub(crate) fn new(session: Session, totals: Totals) -> Self {
        Self { session, totals }
    }

    /// An output, by name or position.
    ///
    /// # Errors
    /// [`BindError::Unknown`].
    pub fn get<'k>(&self, output: impl Into<Key<'k>>) -> Result<TensorView<'_>, BindError> {
        let key = output.into();
        let outputs = || self.iter().map(|view| (view.tensor(), view));
        let found = outputs().enumerate().find(|(index, (tensor, _))| names(key, *index, tensor));
        found.map(|(_, (_, view))| view).ok_or_else(|| unknown("output", key, outputs().map(|(tensor, _)| tensor)))
    }

    /// All outputs, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.package().outputs.iter().filter_map(|&id| self.session.view(id))
    }

    /// Any tensor of the package that is in memory, such as one kept for inspection. What is in scratch memory may have been
    /// overwritten by a tensor that came later.
    ///
    /// # Errors
    /// [`BindError::Unknown`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, BindError> {
        let id = self.package().tensor_named(name);
        let outputs = || self.iter().map(|view| -> &Tensor { view.tensor() });
        id.and_then(|id| self.session.view(id)).ok_or_else(|| unknown("tensor", Key::Name(name), outputs()))
    }

    /// The intermediate tensors that [`Session::record`] asked for.
    pub fn recording(&self) -> Option<&Recording> {
        self.session.recording.as_ref()
    }

    /// What the job took.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The package.
    pub fn package(&self) -> &Package {
        self.session.package()
    }

    /// The session, for the next job; inputs stay bound.
    pub fn into_session(self) -> Session {
        self.session
    }
}
