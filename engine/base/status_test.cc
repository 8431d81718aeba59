#include "base/status.h"

#include <gtest/gtest.h>

namespace frazil {

TEST(Status, KeepsKindAndRetryableThroughPrefix) {
  const Status status = Prefixed(Error(ErrorKind::kConnect, "broker away", true), "reading orders");
  EXPECT_EQ(KindOf(status), ErrorKind::kConnect);
  EXPECT_TRUE(IsRetryable(status));
  EXPECT_EQ(MessageOf(status), "reading orders: broker away");
}

TEST(Status, KeepsItsNameThroughPrefix) {
  const Status status = Prefixed(NamedError("TypeMismatch", "cannot add"), "x");
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_EQ(NameOf(status), "TypeMismatch");
  EXPECT_EQ(NameOf(Status::Invalid("x")), "");
}

TEST(Status, ArrowErrorsAreInternal) {
  EXPECT_EQ(KindOf(Status::Invalid("x")), ErrorKind::kInternal);
  EXPECT_FALSE(IsRetryable(Status::Invalid("x")));
}

}  // namespace frazil
