//! Looking up targets.

use crate::generated::{ResizeMode, TARGETS, Target};

impl Target {
    /// The target of this name.
    ///
    /// ```
    /// use cnnip_isa::Target;
    ///
    /// assert_eq!(Target::by_name("v3m").map(|target| target.sram_bytes), Some(896 * 1024));
    /// assert_eq!(Target::by_name("v9"), None);
    /// ```
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The target with this number.
    #[must_use]
    pub fn by_id(id: u32) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.id == id)
    }

    /// The largest magnification of a resize in this mode.
    #[must_use]
    pub fn max_scale(&self, mode: ResizeMode) -> u32 {
        match mode {
            ResizeMode::Nearest => self.max_nearest_scale,
            ResizeMode::Bilinear => self.max_bilinear_scale,
        }
    }

    /// Whether the value called `key` is assumed rather than public. `None` if there is no such value.
    #[must_use]
    pub fn is_assumed(&self, key: &str) -> Option<bool> {
        self.basis.iter().find(|&&(name, _)| name == key).map(|(_, basis)| basis.starts_with("assumed"))
    }
}
