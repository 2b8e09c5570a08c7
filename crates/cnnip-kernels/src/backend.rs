//! Which instructions kernels use.

use crate::simd::amx;

/// An implementation of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Plain loops: the slow twin that the others are checked against.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Vnni,
    /// As `Vnni`, and AMX with 8-bit integers, on Linux.
    Amx,
    /// AArch64 with NEON and its dot products.
    Neon,
}

impl Backend {
    /// All backends; of each processor's the slowest first.
    pub const ALL: [Self; 5] = [Self::Scalar, Self::Avx2, Self::Vnni, Self::Amx, Self::Neon];

    /// The fastest backend this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|backend| backend.is_available()).unwrap_or(Self::Scalar)
    }

    /// The backend called `name`: what the environment variable `CNNIP_KERNELS` holds.
    ///
    /// ```
    /// use cnnip_kernels::Backend;
    /// assert_eq!(Backend::from_name("vnni"), Some(Backend::Vnni));
    /// assert_eq!(Backend::from_name("fastest"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    /// Its name, as [`Backend::from_name`] takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Vnni => "vnni",
            Self::Amx => "amx",
            Self::Neon => "neon",
        }
    }

    /// Whether this process can run it. Linux is asked for the tile registers here, if the processor has them.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Avx2 => has_avx2(),
            Self::Vnni => has_vnni(),
            Self::Amx => has_vnni() && amx::is_available(),
            Self::Neon => has_neon(),
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has_vnni() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn has_vnni() -> bool {
    false
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(all(target_arch = "aarch64", not(miri))))]
fn has_neon() -> bool {
    false
}

/// The kernels of one backend. To hold one is to know that this processor has the backend's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(Backend);

impl Kernels {
    /// The kernels of `backend`, if this processor has its instructions.
    #[must_use]
    pub fn new(backend: Backend) -> Option<Self> {
        backend.is_available().then_some(Self(backend))
    }

    /// The kernels that every processor has.
    #[must_use]
    pub const fn scalar() -> Self {
        Self(Backend::Scalar)
    }

    /// The kernels named by the environment variable `CNNIP_KERNELS`, or the best.
    ///
    /// An unknown or unavailable name gives the best as well: results are the same whatever the backend.
    #[must_use]
    pub fn from_env() -> Self {
        let named = std::env::var("CNNIP_KERNELS").ok().and_then(|name| Backend::from_name(&name));
        named.and_then(Self::new).unwrap_or_default()
    }

    /// Which backend these are.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.0
    }
}

impl Default for Kernels {
    /// The best that this processor has.
    fn default() -> Self {
        Self(Backend::best())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_round_trips_and_the_best_is_available() {
        for backend in Backend::ALL {
            assert_eq!(Backend::from_name(backend.name()), Some(backend));
        }
        assert!(Backend::best().is_available());
        assert_eq!(Kernels::new(Backend::Scalar), Some(Kernels::scalar()));
    }
}
