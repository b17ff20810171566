//! A stack of fixed capacity on the heap. alloc's Vec computes its growth with 128-bit products, which the BPF back end cannot do.

use super::WitnessError;
use alloc::boxed::Box;
use core::{
    mem::{needs_drop, MaybeUninit},
    ops::{Deref, DerefMut},
};

pub struct Stack<T, const N: usize> {
    slots: Box<[MaybeUninit<T>; N]>,
    len: usize,
}

impl<T, const N: usize> Stack<T, N> {
    pub fn new() -> Self {
        const { assert!(!needs_drop::<T>()) };
        // SAFETY: an array of uninitialised slots is initialised, whatever it holds.
        Stack { slots: unsafe { Box::<[MaybeUninit<T>; N]>::new_uninit().assume_init() }, len: 0 }
    }

    /// BadShape when it is full; capacities are such that no witness gets there.
    #[inline(always)]
    pub fn push(&mut self, item: T) -> Result<(), WitnessError> {
        self.slots.get_mut(self.len).ok_or(WitnessError::BadShape)?.write(item);
        self.len += 1;
        Ok(())
    }

    #[inline(always)]
    pub fn pop(&mut self) -> Option<T>
    where
        T: Copy,
    {
        let top = *self.last()?;
        self.len -= 1;
        Some(top)
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T, const N: usize> Deref for Stack<T, N> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` slots, at most N, have been written.
        unsafe { core::slice::from_raw_parts(self.slots.as_ptr() as *const T, self.len) }
    }
}

impl<T, const N: usize> DerefMut for Stack<T, N> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.slots.as_mut_ptr() as *mut T, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out_up_to_its_capacity() {
        let mut stack: Stack<u16, 2> = Stack::new();
        assert_eq!(stack.pop(), None);
        assert_eq!((stack.push(7), stack.push(8), stack.push(9)), (Ok(()), Ok(()), Err(WitnessError::BadShape)));
        assert_eq!(stack[..], [7, 8]);
        assert_eq!((stack.pop(), stack.pop(), stack.pop()), (Some(8), Some(7), None));
    }
}
