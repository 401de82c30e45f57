//! The worker pool in a world whose threads run in every order that a scheduler can think of.
//!
//! What runs here is what runs in the program: which thread waits, is woken, or is parked. Only the system's end is a
//! stand-in: sockets that report once what is unread, threads, and time, which passes whenever it likes. A request that
//! no thread answers leaves every thread asleep at last, and the scheduler says so.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    panic::catch_unwind,
    sync::{Arc, PoisonError},
};

use shuttle::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use super::{
    WAITING, WorkerPool, WorkerState,
    sync::{IS_OVER, MISTAKE, Mistake},
};

/// What a client has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// It ends at once.
    Quick,
    /// It hangs on the dead disk.
    Hangs,
}

use Command::{Hangs, Quick};

/// A client: what it has sent that has not been read, and whether the kernel would report it.
struct Client {
    unread: VecDeque<Command>,
    is_armed: bool,
    answers: usize,
}

struct World {
    pool: WorkerPool,
    clients: Mutex<Vec<Client>>,
    /// Something was sent or answered, or is waited for again.
    stir: Condvar,
    is_dead: Mutex<bool>,
    revived: Condvar,
    /// Threads that wait for an event or have one, and are neither parked nor are on their way to either.
    at_work: AtomicUsize,
    has_room: AtomicBool,
    is_over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(bell: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    bell.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Clients that have sent this, and a pool as it begins.
    fn new(sent: &[&[Command]]) -> Arc<Self> {
        IS_OVER.set(false);
        let client = |sent: &&[Command]| Client { unread: sent.iter().copied().collect(), is_armed: true, answers: 0 };
        let world = Arc::new(Self {
            pool: WorkerPool::default(),
            clients: Mutex::new(sent.iter().map(client).collect()),
            stir: Condvar::new(),
            is_dead: Mutex::new(true),
            revived: Condvar::new(),
            at_work: AtomicUsize::new(0),
            has_room: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
        });
        for _ in 0..WAITING {
            world.pool.begin(|| world.start().then_some(()).ok_or_else(|| ErrorKind::OutOfMemory.into())).unwrap();
        }
        world
    }

    fn start(self: &Arc<Self>) -> bool {
        if !self.has_room.load(SeqCst) {
            return false;
        }
        self.count();
        let world = Arc::clone(self);
        thread::spawn(move || world.work());
        true
    }

    /// One more thread is at work.
    fn count(&self) {
        let most = lock(&self.clients).len() + WAITING;
        let threads = self.at_work.fetch_add(1, SeqCst) + 1;
        assert!(threads <= most, "{threads} threads are at work, and {most} are enough");
    }

    /// A thread's life, as in the program.
    fn work(self: &Arc<Self>) {
        loop {
            let Some(number) = self.wait() else { return };
            let is_covered = self.pool.leave(|| self.start());
            let state = self.serve(number, is_covered);
            if !self.pool.park(state) {
                return;
            }
            self.count();
        }
    }

    /// The next event, which is reported once; none at the end.
    fn wait(&self) -> Option<usize> {
        let mut clients = lock(&self.clients);
        loop {
            let ready = |client: &Client| client.is_armed && !client.unread.is_empty();
            if let Some(number) = clients.iter().position(ready) {
                clients[number].is_armed = false;
                return Some(number);
            }
            if self.is_over.load(SeqCst) {
                return None;
            }
            clients = wait(&self.stir, clients);
        }
    }

    fn serve(&self, number: usize, is_covered: bool) -> WorkerState {
        let command = lock(&self.clients)[number].unread.pop_front();
        if command == Some(Hangs) && is_covered {
            let mut is_dead = lock(&self.is_dead);
            while *is_dead {
                is_dead = wait(&self.revived, is_dead);
            }
        }
        lock(&self.clients)[number].answers += usize::from(command.is_some());
        self.stir.notify_all();
        self.at_work.fetch_sub(1, SeqCst);
        let state = self.pool.resume();
        lock(&self.clients)[number].is_armed = true;
        self.stir.notify_all();
        state
    }

    fn send(&self, number: usize, command: Command) {
        lock(&self.clients)[number].unread.push_back(command);
        self.stir.notify_all();
    }

    fn await_answers(&self, number: usize, count: usize) {
        let mut clients = lock(&self.clients);
        while clients[number].answers < count {
            clients = wait(&self.stir, clients);
        }
        assert_eq!(clients[number].answers, count, "a request was answered twice");
    }

    fn revive(&self) {
        *lock(&self.is_dead) = false;
        self.revived.notify_all();
    }

    /// Threads that wait or are parked do so no longer.
    fn end(&self) {
        self.is_over.store(true, SeqCst);
        drop(lock(&self.clients));
        self.stir.notify_all();
        IS_OVER.set(true);
        drop(lock(&self.pool.reserve));
        self.pool.woken.notify_all();
    }
}

/// A dead disk's clients hang, others are answered all the same, and when the disk is back so are those.
fn a_dead_disk() {
    let world = World::new(&[&[Hangs, Quick], &[Quick, Quick], &[Hangs], &[Hangs]]);
    world.await_answers(1, 2);
    world.send(1, Quick);
    world.await_answers(1, 3);
    world.revive();
    world.await_answers(0, 2);
    world.await_answers(2, 1);
    world.await_answers(3, 1);
    world.end();
}

/// The disk has been dead before: threads are parked that were needed then, and are needed again, some more than once.
fn a_disk_that_dies_again() {
    let world = World::new(&[&[Hangs], &[Hangs], &[Hangs], &[]]);
    world.revive();
    for number in 0..3 {
        world.await_answers(number, 1);
    }
    *lock(&world.is_dead) = true;
    for number in 0..3 {
        world.send(number, Hangs);
    }
    world.send(3, Quick);
    world.await_answers(3, 1);
    world.revive();
    for number in 0..3 {
        world.await_answers(number, 2);
        world.send(number, Quick);
    }
    for number in 0..3 {
        world.await_answers(number, 3);
    }
    world.end();
}

/// The system has no room for a further thread: nothing that could hang is begun without one that waits.
fn no_room() {
    let world = World::new(&[&[Hangs, Hangs], &[Hangs, Quick], &[Quick, Quick]]);
    world.has_room.store(false, SeqCst);
    world.await_answers(2, 2);
    world.revive();
    world.await_answers(0, 2);
    world.await_answers(1, 2);
    world.end();
}

const STORIES: [fn(); 3] = [a_dead_disk, a_disk_that_dies_again, no_room];

fn play(story: fn()) {
    let mut config = shuttle::Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    config.max_steps = shuttle::MaxSteps::FailAfter(20_000);
    let runs = 500;
    shuttle::Runner::new(shuttle::scheduler::RandomScheduler::new(runs), config.clone()).run(story);
    shuttle::Runner::new(shuttle::scheduler::PctScheduler::new(3, runs), config).run(story);
}

#[test]
fn no_client_waits_for_another_s_command() {
    play(a_dead_disk);
}

#[test]
fn a_thread_in_reserve_is_woken_when_it_is_needed() {
    play(a_disk_that_dies_again);
}

#[test]
fn without_room_for_threads_one_still_waits() {
    play(no_room);
}

#[test]
fn the_model_finds_mistakes() {
    for mistake in [Mistake::LeavesNobody, Mistake::WakesNobody, Mistake::StaysWoken, Mistake::NeverParks] {
        MISTAKE.set(Some(mistake));
        let found = STORIES.map(|story| catch_unwind(|| play(story)).is_err());
        MISTAKE.set(None);
        assert!(found.contains(&true), "{mistake:?} was not found");
    }
}
