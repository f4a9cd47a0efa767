//! Names that are always there in Python.

use rustc_hash::FxHashSet as HashSet;
use std::sync::LazyLock;

/// Names that are always there: Python's own, and a notebook's.
pub(super) fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(name) || (name.starts_with("__") && name.ends_with("__"))
}

static BUILTINS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError \
     BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError \
     ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning \
     EnvironmentError Exception ExceptionGroup False FileExistsError FileNotFoundError FloatingPointError \
     FutureWarning GeneratorExit IOError ImportError ImportWarning In IndentationError IndexError \
     InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError \
     ModuleNotFoundError NameError None NotADirectoryError NotImplemented NotImplementedError OSError Out \
     OverflowError PendingDeprecationWarning PermissionError ProcessLookupError RecursionError \
     ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration \
     SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError True TypeError \
     UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError \
     UnicodeWarning UserWarning ValueError Warning ZeroDivisionError _ __ abs aiter all anext any ascii \
     basestring bin bool breakpoint bytearray bytes callable chr classmethod compile complex copyright \
     credits delattr dict dir display divmod enumerate eval exec exit filter float format frozenset \
     get_ipython getattr globals hasattr hash help hex id input int isinstance issubclass iter len \
     license list locals long map max memoryview min next object oct open ord pow print property quit \
     range raw_input reduce repr reversed round set setattr slice sorted staticmethod str sum super tuple \
     type unicode vars xrange zip"
        .split_whitespace()
        .collect()
});
