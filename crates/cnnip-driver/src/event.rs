//! What a device tells its host while it works.

/// An interrupt. Its handler runs on the thread that polls, is given this and nothing else, and so cannot re-enter the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A core has started its lists. Masked by `RUNNING` in `INTERRUPT_MASK`.
    Started {
        /// The core.
        core: u8,
    },
    /// A core has executed `INT`. Masked by `INTERRUPT`.
    Interrupt {
        /// The core.
        core: u8,
        /// The code in the command.
        code: u32,
    },
    /// A core has executed `TRAP`; the job is over. Masked by `TRAP`.
    Trap {
        /// The core.
        core: u8,
        /// The code in the command.
        code: u32,
    },
}

/// What is called with events.
pub(crate) type Handler = Box<dyn FnMut(Event) + Send>;
