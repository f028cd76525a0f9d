// All tests, in one program: they share one environment.
import "./favourites.test";
import "./reading.test";
import "./saving.test";
