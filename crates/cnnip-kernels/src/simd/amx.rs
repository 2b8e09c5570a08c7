//! AMX: eight registers of 16 rows of 64 bytes, and products of 8-bit matrices in them.
//!
//! The instructions have no stable intrinsics, so they are written as assembly. Operating systems grant the registers to a
//! process that asks.

use super::{Block, Lanes};
use crate::channel::BLOCK;

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;

/// Bytes of a row of a tile.
pub(crate) const ROW_BYTES: usize = 64;

/// Sums of 16 rows and 16 channels.
pub(crate) type TileSums = [Lanes; ROWS];

/// Sums of two times 16 rows and two times 16 channels, each row in a cache line of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Sums(pub(crate) [[TileSums; 2]; 2]);

impl Sums {
    /// No sums yet.
    pub(crate) const NONE: Self = Self([[[[0; BLOCK]; ROWS]; 2]; 2]);
}

/// Bytes from a cache line on, which tiles load faster.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// The bytes of 32 rows of the left matrix.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux", not(miri))),
    allow(dead_code, reason = "nothing reads it where there are no tiles")
)]
pub(crate) struct Left<'a> {
    /// From the first row on; at least up to the end of the last row.
    pub(crate) bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
}

/// The depth of a product's right matrix for 16 channels: weight blocks of four channels of depth each.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux", not(miri))),
    allow(dead_code, reason = "nothing reads it where there are no tiles")
)]
pub(crate) struct Right<'a> {
    /// Blocks of whole tiles.
    pub(crate) blocks: &'a [Block],
    /// One more tile, where the depth does not end with a whole one.
    pub(crate) rest: Option<&'a [Block; ROWS]>,
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
pub(crate) use available::{Tiles, is_available};
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
pub(crate) use unavailable::{Tiles, is_available};

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod available {
    use super::{Left, ROW_BYTES, ROWS, Right, Sums};
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid_count, _xgetbv};
    use std::sync::OnceLock;

    /// The tile registers, configured for whole tiles; released on drop, so that the system need not save them.
    #[derive(Debug)]
    pub(crate) struct Tiles(());

    /// What `ldtilecfg` loads: palette 1, and rows and bytes per row of every register.
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    static WHOLE_TILES: Configuration = {
        let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
        let mut register = 0;
        while register < 8 {
            row_bytes[register] = 64;
            rows[register] = 16;
            register += 1;
        }
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
    };

    /// How far ahead the weights of both blocks are asked for, in bytes: eight tiles, about as long as the third-level cache takes.
    /// The processor's own prefetcher loses count over the rows of the left matrix. Between products they cost nothing.
    const AHEAD: usize = 8 * ROWS * ROW_BYTES;

    impl Tiles {
        /// Configures the registers.
        ///
        /// # Safety
        /// [`is_available`] was true.
        pub(crate) unsafe fn configure() -> Self {
            // SAFETY: the processor has the instruction, and the operand is 64 bytes of a legal configuration.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE_TILES, options(nostack, preserves_flags, readonly))
            };
            Self(())
        }

        /// `left * right` for 32 rows and 32 channels of signed bytes, modulo 2^32.
        ///
        /// # Panics
        /// If an operand is shorter than the depth of the first right matrix asks for.
        pub(crate) fn product(&mut self, left: Left<'_>, right: [Right<'_>; 2], sums: &mut Sums) {
            let tiles = right[0].blocks.len() / ROWS;
            let depth = tiles + usize::from(right[0].rest.is_some());
            assert!(right[1].blocks.len() >= tiles * ROWS && right[1].rest.is_some() == right[0].rest.is_some());
            assert!(left.bytes.len() >= (2 * ROWS - 1) * left.stride + depth * ROW_BYTES);
            let rest = right.map(|right| right.rest.map_or(std::ptr::null(), |rest| rest.as_ptr()));
            // SAFETY: the registers are configured as long as `self` lives. Every load is of 16 rows of 64 bytes: of `left` at its
            // stride, whose length was checked for 32 rows of `depth` tiles; of the right matrices without gaps, whose lengths
            // were checked for `tiles` tiles; `rest` is null or one whole tile. Stores are the four tiles of `sums`.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "test {tiles}, {tiles}",
                    "jz 3f",
                    "2:",
                    "tileloadd tmm4, [{a0} + {stride}*1]",
                    "tileloadd tmm6, [{b0} + {row}*1]",
                    "tileloadd tmm7, [{b1} + {row}*1]",
                    "tileloadd tmm5, [{a1} + {stride}*1]",
                    "tdpbssd tmm0, tmm4, tmm6",
                    ".irp line, 0,64,128,192,256,320,384,448",
                    "prefetcht0 [{b0} + {ahead} + \\line]",
                    ".endr",
                    "tdpbssd tmm1, tmm4, tmm7",
                    ".irp line, 512,576,640,704,768,832,896,960",
                    "prefetcht0 [{b0} + {ahead} + \\line]",
                    ".endr",
                    "tdpbssd tmm2, tmm5, tmm6",
                    ".irp line, 0,64,128,192,256,320,384,448",
                    "prefetcht0 [{b1} + {ahead} + \\line]",
                    ".endr",
                    "tdpbssd tmm3, tmm5, tmm7",
                    ".irp line, 512,576,640,704,768,832,896,960",
                    "prefetcht0 [{b1} + {ahead} + \\line]",
                    ".endr",
                    "add {a0}, 64",
                    "add {a1}, 64",
                    "add {b0}, 1024",
                    "add {b1}, 1024",
                    "dec {tiles}",
                    "jnz 2b",
                    "3:",
                    "test {rest0}, {rest0}",
                    "jz 4f",
                    "tileloadd tmm4, [{a0} + {stride}*1]",
                    "tileloadd tmm6, [{rest0} + {row}*1]",
                    "tileloadd tmm7, [{rest1} + {row}*1]",
                    "tileloadd tmm5, [{a1} + {stride}*1]",
                    "tdpbssd tmm0, tmm4, tmm6",
                    "tdpbssd tmm1, tmm4, tmm7",
                    "tdpbssd tmm2, tmm5, tmm6",
                    "tdpbssd tmm3, tmm5, tmm7",
                    "4:",
                    "tilestored [{sums} + {row}*1], tmm0",
                    "tilestored [{sums} + {row}*1 + 1024], tmm1",
                    "tilestored [{sums} + {row}*1 + 2048], tmm2",
                    "tilestored [{sums} + {row}*1 + 3072], tmm3",
                    a0 = inout(reg) left.bytes.as_ptr() => _,
                    a1 = inout(reg) left.bytes.as_ptr().add(ROWS * left.stride) => _,
                    b0 = inout(reg) right[0].blocks.as_ptr() => _,
                    b1 = inout(reg) right[1].blocks.as_ptr() => _,
                    rest0 = in(reg) rest[0],
                    rest1 = in(reg) rest[1],
                    tiles = inout(reg) tiles => _,
                    stride = in(reg) left.stride,
                    row = in(reg) ROW_BYTES,
                    sums = in(reg) &raw mut sums.0,
                    ahead = const AHEAD,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    }

    impl Drop for Tiles {
        fn drop(&mut self) {
            // SAFETY: the processor has the instruction.
            unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
        }
    }

    /// Whether the processor multiplies 8-bit tiles and the system lets this process do it. Asked once: under a hypervisor the
    /// question takes as long as a small network.
    pub(crate) fn is_available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| has_instructions() && has_state() && is_permitted())
    }

    /// CPUID leaf 7: AMX-TILE and AMX-INT8.
    fn has_instructions() -> bool {
        const TILE_AND_INT8: u32 = 0b11 << 24;
        #[allow(unused_unsafe, reason = "unsafe in older releases of Rust")]
        // SAFETY: every x86-64 processor has CPUID; leaf 7 is read only where it exists.
        let edx = unsafe { if __cpuid_count(0, 0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 } };
        edx & TILE_AND_INT8 == TILE_AND_INT8
    }

    /// XCR0: the system saves the tile configuration and data.
    fn has_state() -> bool {
        const TILE_STATE: u64 = 0b11 << 17;
        // SAFETY: `xsave` is detected only where the system has enabled XGETBV too.
        is_x86_feature_detected!("xsave") && unsafe { extended_state() } & TILE_STATE == TILE_STATE
    }

    /// # Safety
    /// The processor has XSAVE and the system has enabled it.
    #[target_feature(enable = "xsave")]
    unsafe fn extended_state() -> u64 {
        // SAFETY: as the caller promised.
        unsafe { _xgetbv(0) }
    }

    /// Asks Linux to let this process use tile data: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`. Asking twice is no
    /// error.
    fn is_permitted() -> bool {
        const SYS_ARCH_PRCTL: isize = 158;
        const REQUEST_PERMISSION: usize = 0x1023;
        const TILE_DATA: usize = 18;
        let result: isize;
        // SAFETY: the call takes two numbers and writes no memory; the kernel clobbers rcx and r11 only.
        unsafe {
            asm!(
                "syscall",
                inout("rax") SYS_ARCH_PRCTL => result,
                in("rdi") REQUEST_PERMISSION,
                in("rsi") TILE_DATA,
                out("rcx") _,
                out("r11") _,
                options(nostack),
            );
        }
        result == 0
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
mod unavailable {
    use super::{Left, Right, Sums};

    /// There are no tile registers.
    #[derive(Debug)]
    pub(crate) enum Tiles {}

    impl Tiles {
        pub(crate) fn product(&mut self, _: Left<'_>, _: [Right<'_>; 2], _: &mut Sums) {
            match *self {}
        }
    }

    pub(crate) fn is_available() -> bool {
        false
    }
}
