//! Seeds that once failed, each named by what it found.
