//! Which command starts when, and what starting it does.
//!
//! `order.md` is the source. Starts are totally ordered; this module issues them in that order, whatever the step, and keeps
//! every operation in flight advanced to the cycle that was asked for.

use cnnip_isa::operation::{Operands, Operation, Space};
use cnnip_isa::{Command, OperationCode, Pairs, RegisterError, RegisterFile, decode_at, is_wait};
use cnnip_timing::{Nest, control_cycles};

use crate::engine::{Frame, STACK_FRAMES};
use crate::execute::{InFlight, check_bitmap, check_record_scales, check_register_scales, check_stream};
use crate::tokens::Signal;
use crate::{CommandId, EngineId, Fault, FaultCause, Limit, Machine, Observer, StackError, Stop, Waiting};

/// What the next thing to happen is.
enum Next {
    /// A command starts.
    Start(u64, EngineId),
    /// Every engine has ended.
    End,
    /// Every engine that has not ended waits.
    Deadlock,
}

impl Machine {
    /// Starts everything that starts before `limit`, and brings operations to `limit`, or to their end if `ahead`.
    /// A limit in the past changes nothing.
    pub(crate) fn advance_until(&mut self, limit: u64, ahead: bool, observer: &mut dyn Observer) -> Stop {
        let limit = limit.max(self.state.now);
        let to = if ahead { u64::MAX } else { limit };
        self.advance_all(to, observer);
        while let Some((start, engine)) = self.next_start() {
            if start >= limit {
                return self.pause(limit);
            }
            self.issue(engine, start, observer);
            self.advance_engine(engine, to, observer);
        }
        self.settle(limit, observer)
    }

    pub(crate) fn advance_one_command(&mut self, observer: &mut dyn Observer) -> Stop {
        if let Some((start, engine)) = self.reach_next_start(observer) {
            self.issue(engine, start, observer);
        }
        match self.reach_next_start(observer) {
            Some((next, _)) => self.pause(next),
            None => self.settle(u64::MAX, observer),
        }
    }

    fn pause(&mut self, cycle: u64) -> Stop {
        self.state.now = self.state.now.max(cycle);
        Stop::Paused
    }

    /// Nothing starts any more: lets commands in flight drain and says how it ended.
    fn settle(&mut self, limit: u64, observer: &mut dyn Observer) -> Stop {
        // First what is in flight: an overflow ends its operation early, and comes before a deadlock of the same cycle.
        self.advance_all(limit, observer);
        let drained = self.state.engines.iter().map(|engine| engine.ready).max().unwrap_or(0);
        if self.state.fault.is_none() && matches!(self.next(), Next::Deadlock) && drained <= limit {
            self.deadlock(drained);
        }
        let fault_cycle = self.state.fault.as_ref().map_or(0, |fault| fault.at.cycle);
        let end = drained.max(fault_cycle);
        if end > limit {
            return self.pause(limit);
        }
        self.state.now = self.state.now.max(end);
        self.stop(observer)
    }

    /// How the machine stopped; the observer hears of a fault only now, when no earlier one can be found any more.
    fn stop(&mut self, observer: &mut dyn Observer) -> Stop {
        let Some(fault) = &self.state.fault else { return Stop::Done };
        if !self.state.told {
            observer.fault(fault);
            self.state.told = true;
        }
        Stop::Fault(Box::new(fault.clone()))
    }

    /// The next start, unless a fault comes before it.
    fn next_start(&self) -> Option<(u64, EngineId)> {
        let Next::Start(start, engine) = self.next() else { return None };
        let stopped = self.state.fault.as_ref().is_some_and(|fault| start >= fault.at.cycle);
        (!stopped).then_some((start, engine))
    }

    /// Brings everything to the next start, unless an operation overflows on the way.
    fn reach_next_start(&mut self, observer: &mut dyn Observer) -> Option<(u64, EngineId)> {
        let (start, _) = self.next_start()?;
        self.advance_all(start, observer);
        self.next_start()
    }

    fn next(&self) -> Next {
        let running = self.engines().filter(|&engine| !self.has_ended(engine));
        let mut running = running.peekable();
        if running.peek().is_none() {
            return Next::End;
        }
        // `min_by_key` keeps the first of equals: the earlier engine in the order.
        let starts = running.filter_map(|engine| Some((self.start_of(engine)?, engine)));
        starts.min_by_key(|&(start, _)| start).map_or(Next::Deadlock, |(start, engine)| Next::Start(start, engine))
    }

    /// The cycle in which an engine's next command starts; `None` while it waits for signals not given yet.
    fn start_of(&self, engine: EngineId) -> Option<u64> {
        let ready = self.state.engines[engine.index()].ready;
        let Some((token, count)) = self.wait_of(engine) else { return Some(ready) };
        match self.program.owner(token, engine) {
            Some(owner) if owner.waits == engine => Some(ready.max(self.token(token, engine)?.available(count)?)),
            _ => Some(ready), // starts in order to fault
        }
    }

    /// Token and count, if the engine's next command is `WAIT`.
    fn wait_of(&self, engine: EngineId) -> Option<(u8, u16)> {
        let (list, pc) = (self.program.list(engine)?, self.state.engines[engine.index()].pc);
        match is_wait(list, pc).then(|| decode_at(list, pc, engine.slot.kind())) {
            Some(Ok((Command::Wait { token, count }, _))) => Some((token, count)),
            _ => None,
        }
    }

    fn token(&self, token: u8, engine: EngineId) -> Option<&crate::tokens::Token> {
        self.state.tokens.get(&crate::program::token_key(token, engine.core))
    }

    fn advance_all(&mut self, to: u64, observer: &mut dyn Observer) {
        for engine in self.engines() {
            self.advance_engine(engine, to, observer);
        }
    }

    /// Brings the operation in flight of an engine to cycle `to`.
    fn advance_engine(&mut self, engine: EngineId, to: u64, observer: &mut dyn Observer) {
        let Some(mut work) = self.state.engines[engine.index()].in_flight.take() else { return };
        let end = work.end();
        match work.advance(&mut self.state.memory, &mut self.fast, to) {
            Err((cycle, cause)) => {
                self.state.engines[engine.index()].ready = cycle;
                self.fail(CommandId { cycle, ..work.at }, cause);
            }
            Ok(()) if to >= end => observer.retired(engine, work.at.pc, &work.operation, &self.state),
            Ok(()) => self.state.engines[engine.index()].in_flight = Some(work),
        }
    }

    /// Notes a fault, unless an earlier one is known: earlier in time, or at the same cycle of an earlier engine.
    fn fail(&mut self, at: CommandId, cause: FaultCause) {
        let known = self.state.fault.as_ref().map(|fault| (fault.at.cycle, fault.at.engine));
        if known.is_some_and(|known| known <= (at.cycle, at.engine)) {
            return;
        }
        let engine = &self.state.engines[at.engine.index()];
        self.state.fault =
            Some(Fault { cause, at, layer: engine.layer, registers: Box::new(engine.registers.clone()) });
    }

    fn deadlock(&mut self, cycle: u64) {
        let waiting = self.engines().filter(|&engine| !self.has_ended(engine));
        let waits: Vec<Waiting> = waiting.filter_map(|engine| self.waiting(engine)).collect();
        if let Some(first) = waits.first() {
            let at = CommandId { cycle, ..first.at };
            self.fail(at, FaultCause::Deadlock { waits });
        }
    }

    fn waiting(&self, engine: EngineId) -> Option<Waiting> {
        let (token, needs) = self.wait_of(engine)?;
        let state = &self.state.engines[engine.index()];
        Some(Waiting {
            at: CommandId { engine, pc: state.pc, cycle: state.ready },
            token,
            needs,
            has: self.token(token, engine)?.count(),
            signaller: self.program.owner(token, engine)?.signals,
        })
    }

    /// Starts the next command of `engine` at cycle `start`.
    fn issue(&mut self, engine: EngineId, start: u64, observer: &mut dyn Observer) {
        let at = CommandId { engine, pc: self.state.engines[engine.index()].pc, cycle: start };
        // The list is shared, so that the command can borrow from it while the machine changes.
        let list = self.program.list(engine).cloned().unwrap_or_default();
        let result = self.check_command_budget().and_then(|()| {
            let (command, words) = decode_at(&list, at.pc, engine.slot.kind()).map_err(FaultCause::Encoding)?;
            observer.command(engine, at.pc, &command, start);
            self.execute(at, &command, words, observer)
        });
        if let Err(cause) = result {
            self.fail(at, cause);
        }
    }

    fn check_command_budget(&self) -> Result<(), FaultCause> {
        let (needed, budget) = (self.state.commands + 1, self.options.max_commands);
        if needed <= budget { Ok(()) } else { Err(FaultCause::Budget { limit: Limit::Commands, needed, budget }) }
    }

    fn check_cycle_budget(&self, needed: u64) -> Result<(), FaultCause> {
        let budget = self.options.max_cycles;
        if needed <= budget { Ok(()) } else { Err(FaultCause::Budget { limit: Limit::Cycles, needed, budget }) }
    }

    fn execute(
        &mut self,
        at: CommandId,
        command: &Command<'_>,
        words: usize,
        observer: &mut dyn Observer,
    ) -> Result<(), FaultCause> {
        self.state.races.tick(at.engine);
        let end = match command {
            Command::Run(code) => self.begin(at, *code, observer)?,
            _ => {
                let end = at.cycle.saturating_add(control_cycles(words));
                self.check_cycle_budget(end)?;
                end
            }
        };
        let next = self.control(at, command, at.pc + words, observer)?;
        let engine = &mut self.state.engines[at.engine.index()];
        engine.pc = next;
        engine.ready = end;
        self.state.commands += 1;
        Ok(())
    }

    /// The effect of a command other than `RUN`; gives the word index of the next command.
    fn control(
        &mut self,
        at: CommandId,
        command: &Command<'_>,
        next: usize,
        observer: &mut dyn Observer,
    ) -> Result<usize, FaultCause> {
        match *command {
            Command::Nop | Command::Run(_) => Ok(next),
            Command::End => self.end(at).map(|()| next),
            Command::Set { first, values } => self.set(at.engine, first, values).map(|()| next),
            Command::Signal { token } => self.signal(at, token).map(|()| next),
            Command::Wait { token, count } => self.wait(at.engine, token, count).map(|()| next),
            Command::Call { target } => self.call(at.engine, target, next),
            Command::Ret => self.ret(at.engine),
            Command::Loop { count } => self.push(at.engine, Frame::Loop { body: next, left: count }).map(|()| next),
            Command::Next { pairs } => self.next_iteration(at.engine, pairs, next),
            Command::Mark { layer } => {
                self.state.engines[at.engine.index()].layer = Some(layer);
                Ok(next)
            }
            Command::Int { code } => {
                observer.interrupt(at.engine.core, code, at.cycle);
                Ok(next)
            }
            Command::Trap { code } => Err(FaultCause::Trap { code }),
        }
    }

    fn end(&mut self, at: CommandId) -> Result<(), FaultCause> {
        self.state.races.end(at.engine);
        self.state.engines[at.engine.index()].ended = true;
        Ok(())
    }

    fn set(&mut self, engine: EngineId, first: u8, values: &[u32]) -> Result<(), FaultCause> {
        self.state.engines[engine.index()].registers.write_burst(first, values).map_err(FaultCause::Register)
    }

    fn signal(&mut self, at: CommandId, token: u8) -> Result<(), FaultCause> {
        let owner = self.program.owner(token, at.engine).map(|owner| owner.signals);
        if owner != Some(at.engine) {
            return Err(FaultCause::TokenOwner { token, owner });
        }
        let signal = Signal { available: at.cycle.saturating_add(1), clock: self.state.races.clock(at.engine) };
        let key = crate::program::token_key(token, at.engine.core);
        let counted = self.state.tokens.entry(key).or_default().signal(signal);
        if counted { Ok(()) } else { Err(FaultCause::TokenOverflow { token }) }
    }

    fn wait(&mut self, engine: EngineId, token: u8, count: u16) -> Result<(), FaultCause> {
        let owner = self.program.owner(token, engine).map(|owner| owner.waits);
        if owner != Some(engine) {
            return Err(FaultCause::TokenOwner { token, owner });
        }
        let key = crate::program::token_key(token, engine.core);
        let state = &mut self.state;
        // The signals are of one engine: the last has seen what the others had.
        if let Some(signal) = state.tokens.entry(key).or_default().consume(count) {
            state.races.join(engine, &signal.clock);
        }
        Ok(())
    }

    fn push(&mut self, engine: EngineId, frame: Frame) -> Result<(), FaultCause> {
        let stack = &mut self.state.engines[engine.index()].stack;
        if stack.len() >= STACK_FRAMES {
            return Err(FaultCause::ControlStack(StackError::Overflow));
        }
        stack.push(frame);
        Ok(())
    }

    fn call(&mut self, engine: EngineId, target: u32, back: usize) -> Result<usize, FaultCause> {
        self.push(engine, Frame::Call { back })?;
        Ok(usize::try_from(target).unwrap_or(usize::MAX))
    }

    fn ret(&mut self, engine: EngineId) -> Result<usize, FaultCause> {
        let stack = &mut self.state.engines[engine.index()].stack;
        match stack.last() {
            Some(&Frame::Call { back }) => {
                stack.pop();
                Ok(back)
            }
            _ => Err(FaultCause::ControlStack(StackError::NoCall)),
        }
    }

    fn next_iteration(&mut self, engine: EngineId, pairs: Pairs<'_>, next: usize) -> Result<usize, FaultCause> {
        let state = &mut self.state.engines[engine.index()];
        check_exist(&state.registers, pairs)?;
        match state.stack.last_mut() {
            Some(Frame::Loop { left: 1, .. }) => {
                state.stack.pop();
                Ok(next)
            }
            Some(Frame::Loop { body, left }) => {
                state.registers.add_pairs(pairs).map_err(FaultCause::Register)?;
                *left -= 1;
                Ok(*body)
            }
            _ => Err(FaultCause::ControlStack(StackError::NoLoop)),
        }
    }

    /// Makes all checks of a `RUN`, in the order of `order.md`, and puts the operation in flight; gives its end.
    fn begin(&mut self, at: CommandId, code: OperationCode, observer: &mut dyn Observer) -> Result<u64, FaultCause> {
        let registers = &self.state.engines[at.engine.index()].registers;
        let operation = Operation::read(code, registers, self.target).map_err(FaultCause::Operation)?;
        check_register_scales(&operation)?;
        let operands = operation.operands();
        for operand in operands.iter() {
            self.state.memory.check_bounds(at.engine.core, operand)?;
        }
        let nest = Nest::of(&operation, self.target);
        let end = at.cycle.saturating_add(nest.cycles());
        self.check_cycle_budget(end)?;
        operation.check_overlap().map_err(FaultCause::Operation)?;
        self.check_accesses(at, &operands)?;
        let sram = self.state.memory.data(at.engine.core, Space::Sram);
        check_bitmap(&operation, sram)?;
        check_record_scales(&operation, sram)?;
        check_stream(&operation, at.engine.core, &self.state.memory)?;
        self.note_accesses(at, &operands);
        observer.operation(at.engine, at.pc, &operation, at.cycle, end);
        self.state.engines[at.engine.index()].in_flight = Some(InFlight::new(operation, nest, at, self.target));
        Ok(end)
    }

    fn check_accesses(&mut self, at: CommandId, operands: &Operands) -> Result<(), FaultCause> {
        let checks = self.options.checks;
        for operand in operands.iter() {
            if checks.race
                && let Some(race) = self.state.races.check(at.engine, operand)
            {
                return Err(race);
            }
            if checks.uninitialised
                && !operand.role.is_write()
                && let Some(byte) = self.state.memory.first_unwritten(at.engine.core, &operand.bytes)
            {
                let space = operand.bytes.space();
                return Err(FaultCause::Uninitialised { role: operand.role, space, byte });
            }
        }
        Ok(())
    }

    /// Remembers what the operation accesses, and that what it writes counts as written from its start.
    fn note_accesses(&mut self, at: CommandId, operands: &Operands) {
        for operand in operands.iter() {
            if self.options.checks.race {
                self.state.races.record(at, operand);
            }
            if operand.role.is_write() {
                self.state.memory.mark_written(at.engine.core, &operand.bytes);
            }
        }
    }
}

/// Checks that the registers of `NEXT` exist: also in the last round, which adds nothing to them.
fn check_exist(registers: &RegisterFile, pairs: Pairs<'_>) -> Result<(), FaultCause> {
    let unknown = pairs.iter().find(|&(index, _)| registers.get(index).is_none());
    unknown.map_or(Ok(()), |(index, _)| {
        Err(FaultCause::Register(RegisterError::UnknownRegister { index, engine: registers.kind() }))
    })
}
