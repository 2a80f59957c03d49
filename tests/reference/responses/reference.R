# Makes the reference values: `Rscript reference.R` in this folder writes reference.json.
# Debian: r-base-core, r-cran-survival, r-cran-sandwich, r-cran-clubsandwich, r-cran-hmisc, r-cran-jsonlite.
library(survival)
library(sandwich)
suppressMessages(library(clubSandwich))

d <- read.csv("responses.csv")
d$set <- d$prompt
clustered <- function(m, cluster) vcovCL(m, cluster = cluster, type = "HC0", cadjust = TRUE)
made <- list()

# Ratings: least squares with an effect of each prompt. clubSandwich's CR1 is HC0 with G/(G-1).
ols <- lm(rating ~ logprob + quality + factor(prompt), data = d)
terms <- c("logprob", "quality")
made$ratings <- list(
  estimate = unname(coef(ols)[terms]),
  std_error = unname(sqrt(diag(as.matrix(vcovCR(ols, cluster = d$prompt, type = "CR1")))[terms])),
  sandwich = unname(sqrt(diag(clustered(ols, d$prompt))[terms]))
)

# The best of each prompt, and the whole order. R's clustered variance has no G/(G-1).
tight <- coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 100)
cox <- function(data, event, ties = "efron") {
  data$event <- event
  m <- coxph(Surv(place, event) ~ logprob + quality + strata(prompt), data = data, ties = ties, cluster = prompt, control = tight)
  g <- length(unique(data$prompt))
  list(estimate = unname(coef(m)), std_error = unname(sqrt(diag(vcov(m)) * g / (g - 1))), log_likelihood = m$loglik[2])
}
last <- ave(d$place, d$prompt, FUN = max)
varied <- last > 1
d <- d[varied, ]
last <- last[varied]
made$rank_ordered <- cox(d, as.numeric(d$place < last))
best <- transform(d, place = ifelse(place == 1, 1, 2))
cl <- clogit(as.numeric(place == 1) ~ logprob + quality + strata(prompt), data = best, method = "exact", control = tight)
# Clustered errors of the exact likelihood, which survival does not give: each prompt's score is what its best add up to
# less the mean of that over all sets of as many.
scores <- t(sapply(split(best, best$prompt), function(one) {
  x <- as.matrix(one[, c("logprob", "quality")])
  k <- sum(one$place == 1)
  sums <- t(combn(nrow(x), k, function(s) colSums(x[s, , drop = FALSE])))
  weight <- exp(sums %*% coef(cl) - max(sums %*% coef(cl)))
  colSums(x[one$place == 1, , drop = FALSE]) - colSums(sums * as.vector(weight)) / sum(weight)
}))
stopifnot(max(abs(colSums(scores))) < 1e-6)
g <- nrow(scores)
meat <- crossprod(scores) * g / (g - 1)
made$conditional <- list(
  estimate = unname(coef(cl)), std_error = unname(sqrt(diag(vcov(cl) %*% meat %*% vcov(cl)))), log_likelihood = cl$loglik[2]
)
# Without ties for the best it is McFadden's, whatever the method.
alone <- ave(as.numeric(best$place == 1), best$prompt, FUN = sum) == 1
made$alone <- cox(best[alone, ], as.numeric(best$place[alone] == 1))

# The shape, on the comparisons of ../regression.
p <- read.csv("../regression/comparisons.csv")
y <- as.numeric(p$preferred == "a")
values <- c(p$logprob_a, p$logprob_b)
knots <- unname(quantile(values, c(.05, .35, .65, .95), type = 1))
basis <- function(x) Hmisc::rcspline.eval(x, knots = knots, inclx = TRUE, norm = 2)
x <- basis(p$logprob_a) - basis(p$logprob_b)
logit <- function(x) glm(y ~ 0 + x, family = binomial, control = glm.control(epsilon = 1e-14, maxit = 100))
curved <- logit(x)
v <- clustered(curved, p$prompt)
wald <- as.numeric(t(coef(curved)[-1]) %*% solve(v[-1, -1]) %*% coef(curved)[-1]) / 2
g <- length(unique(p$prompt))
at <- c(-4, -3, -2, -1)
contrast <- sweep(basis(at), 2, basis(c(-2.5, -2.5))[1, ])
made$spline <- list(
  knots = knots, estimate = unname(coef(curved)), std_error = unname(sqrt(diag(v))),
  log_likelihood = as.numeric(logLik(curved)), p_linearity = pf(wald, 2, g - 1, lower.tail = FALSE),
  curve = as.numeric(contrast %*% coef(curved)), curve_error = unname(sqrt(diag(contrast %*% v %*% t(contrast))))
)
# The same curve from another basis.
natural <- function(x) splines::ns(x, knots = knots[2:3], Boundary.knots = knots[c(1, 4)])
other <- logit(natural(p$logprob_a) - natural(p$logprob_b))
made$natural <- list(log_likelihood = as.numeric(logLik(other)))

# Which of two measures the labels prefer: the mean difference of the log-likelihoods, clustered.
rival <- function(x) -abs(x + 2.4)
each <- function(x) {
  m <- logit(x)
  dbinom(y, 1, fitted(m), log = TRUE)
}
gain <- each(p$logprob_a - p$logprob_b) - each(rival(p$logprob_a) - rival(p$logprob_b))
mean_gain <- lm(gain ~ 1)
made$vuong <- list(estimate = unname(coef(mean_gain)), std_error = sqrt(clustered(mean_gain, p$prompt)[1, 1]))

packages <- c("survival", "sandwich", "clubSandwich", "Hmisc")
made$versions <- c(list(R = R.version.string), sapply(packages, function(p) as.character(packageVersion(p)), simplify = FALSE))
writeLines(jsonlite::toJSON(made, digits = NA, auto_unbox = TRUE, pretty = TRUE), "reference.json")
