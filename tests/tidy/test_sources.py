"""The measuring itself."""

from tests.tidy.sources import cpp_functions, python_functions

CPP = """
#define CHECK(x) \\
  do { if (!(x)) return; \\
  } while (false)
namespace a { namespace {
// { not a brace
const char kBrace = '{';
constexpr int kBig = 1'000'000;
std::vector<int> numbers = {1, 2};
class B : public C {
 public:
  B() : x_("{"), y_{1} {}
  int one() const { return 1; }
};
template <typename T>
T Long(int a,
       int b) {
  auto f = [](int c) {
    return c;
  };
  if (a) {
    return R"x({)x";
  }
}
}}  // namespace
"""

PYTHON = '''
def f():
    """One.

    Three.
    """
    def g(): return 1

    return g
'''


def test_cpp() -> None:
    found = dict(cpp_functions(CPP))
    assert found["Long"] == 10
    assert found["one"] == 1
    assert set(found) <= {"B", "y_", "one", "Long"}


def test_python() -> None:
    assert dict(python_functions(PYTHON)) == {"f": 4, "g": 1}
