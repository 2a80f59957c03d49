# Makes the reference values: `Rscript reference.R` in this folder writes reference.json.
# Debian: r-base-core, r-cran-survival, r-cran-sandwich, r-cran-clubsandwich, r-cran-bradleyterry2, r-cran-mass, r-cran-ordinal, r-cran-jsonlite.
library(survival)
library(sandwich)
suppressMessages(library(clubSandwich))
library(BradleyTerry2)

d <- read.csv("comparisons.csv")
d$y <- as.numeric(d$preferred == "a")
d$delta <- d$logprob_a - d$logprob_b
la <- log(d$words_a / 100)
lb <- log(d$words_b / 100)
d$length <- la - lb
d$length2 <- la^2 - lb^2
d$quality <- d$quality_a - d$quality_b
centre <- mean(c(d$logprob_a, d$logprob_b))
d$bent <- (d$logprob_a - centre)^2 - (d$logprob_b - centre)^2
d$weight <- 1 / ave(d$y, d$prompt, FUN = length)
d$weight <- d$weight / mean(d$weight)
tight <- glm.control(epsilon = 1e-14, maxit = 100)

# HC0 with cadjust: G/(G-1) and nothing else.
clustered <- function(m, by = "prompt") vcovCL(m, cluster = d[by], type = "HC0", cadjust = TRUE)
shown <- function(m, v = clustered(m)) {
  list(term = names(coef(m)), estimate = unname(coef(m)), std_error = unname(sqrt(diag(v))))
}
logit <- function(formula) glm(formula, family = binomial, data = d, control = tight)

made <- list(
  bt = shown(logit(y ~ 0 + delta)),
  length = shown(logit(y ~ 0 + delta + length + length2)),
  ladder = shown(logit(y ~ 0 + delta + length + length2 + quality)),
  quadratic = shown(logit(y ~ 0 + delta + bent)),
  paper = shown(logit(y ~ delta + quality))
)

# glm takes weights for numbers of trials; fractions bring a warning and nothing else.
made$weighted <- suppressWarnings(
  shown(glm(y ~ 0 + delta + quality, family = binomial, data = d, control = tight, weights = weight))
)

# Two ways: each way with its own G/(G-1), which is what cadjust does.
two <- logit(y ~ 0 + delta)
made$two_way <- shown(two, clustered(two, c("prompt", "annotator")))

# Clustered otherwise: clubSandwich's CR1 is the same sandwich with G/(G-1).
ladder <- logit(y ~ 0 + delta + length + length2 + quality)
made$club <- shown(ladder, as.matrix(vcovCR(ladder, cluster = d$prompt, type = "CR1")))

# Conditional logit of the pairs.
long <- data.frame(
  pair = rep(seq_len(nrow(d)), 2), y = c(d$y, 1 - d$y), logprob = c(d$logprob_a, d$logprob_b),
  l = c(la, lb), q = c(d$quality_a, d$quality_b)
)
long$l2 <- long$l^2
cl <- clogit(y ~ logprob + l + l2 + q + strata(pair), data = long, control = coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 100))
made$clogit <- list(term = names(coef(cl)), estimate = unname(coef(cl)), log_likelihood = cl$loglik[2])

# Ordered logit of a rating of the responses, pooled over prompts.
long$prompt <- rep(d$prompt, 2)
long$rating <- factor(long$q)
polr <- MASS::polr(rating ~ logprob + l, data = long, Hess = TRUE, control = list(reltol = 1e-16, maxit = 1000))
made$ordered <- list(
  term = names(coef(polr)), estimate = unname(coef(polr)), thresholds = unname(polr$zeta),
  std_error = unname(sqrt(diag(vcovCL(polr, cluster = long$prompt, type = "HC0", cadjust = TRUE)))[1:2]),
  log_likelihood = as.numeric(logLik(polr))
)
clm <- ordinal::clm(rating ~ logprob + l, data = long, control = ordinal::clm.control(gradTol = 1e-12, maxIter = 200))
made$ordered_clm <- list(estimate = unname(clm$beta), thresholds = unname(clm$alpha))

# BradleyTerry2 on the same pairs, each response a player of its own.
a <- data.frame(id = factor(paste0("a", seq_len(nrow(d))), levels = c(paste0("a", seq_len(nrow(d))), paste0("b", seq_len(nrow(d))))))
b <- data.frame(id = factor(paste0("b", seq_len(nrow(d))), levels = levels(a$id)))
a$logprob <- d$logprob_a
b$logprob <- d$logprob_b
a$q <- d$quality_a
b$q <- d$quality_b
bt2 <- BTm(d$y, a, b, ~ logprob + q, id = "id", epsilon = 1e-14)
made$bradley_terry2 <- list(term = names(coef(bt2)), estimate = unname(coef(bt2)))

# The rate: one half where neither is more typical.
win <- ifelse(d$delta == 0, 0.5, as.numeric((d$delta > 0) == (d$y == 1)))
rate <- lm(win ~ 1)
made$rate <- list(estimate = unname(coef(rate)), std_error = sqrt(clustered(rate)[1, 1]))
weighted <- lm(win ~ 1, weights = d$weight)
made$rate_weighted <- list(estimate = unname(coef(weighted)), std_error = sqrt(clustered(weighted)[1, 1]))

# Average marginal effects and the adjusted rate. Their influence: the delta method's, through the coefficients, and
# that of a comparison's own place in the mean. Derivatives are numerical here.
effect <- function(m, f) {
  b <- coef(m)
  at <- function(b) mean(f(b))
  h <- 1e-5
  gradient <- sapply(seq_along(b), function(j) {
    up <- b; up[j] <- up[j] + h; down <- b; down[j] <- down[j] - h
    (at(up) - at(down)) / (2 * h)
  })
  # sandwich: estfun %*% bread / n is each row's influence on the coefficients.
  rows <- estfun(m) %*% bread(m) / nobs(m)
  own <- (f(b) - at(b)) / nobs(m)
  psi <- rowsum(as.vector(rows %*% gradient) + own, d$prompt)
  g <- nrow(psi)
  delta_method <- as.numeric(sqrt(t(gradient) %*% clustered(m) %*% gradient))
  list(estimate = at(b), std_error = sqrt(sum(psi^2) * g / (g - 1)), delta_method = delta_method)
}
x <- model.matrix(ladder)
made$marginal <- lapply(seq_len(ncol(x)), function(j) effect(ladder, function(b) dlogis(x %*% b) * b[j]))
made$adjusted_rate <- effect(ladder, function(b) plogis(b[1] * abs(d$delta)))

packages <- c("survival", "sandwich", "clubSandwich", "BradleyTerry2", "MASS", "ordinal")
made$versions <- c(list(R = R.version.string), sapply(packages, function(p) as.character(packageVersion(p)), simplify = FALSE))

writeLines(jsonlite::toJSON(made, digits = NA, auto_unbox = TRUE, pretty = TRUE), "reference.json")
