// All tests, in one program: they share one environment.
import "./away.test";
import "./favourites.test";
import "./merge.test";
import "./reading.test";
import "./saving.test";
import "./windows.test";
