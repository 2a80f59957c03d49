# Makes the reference values: `Rscript reference.R` in this folder writes reference.json.
# Debian: r-base-core, r-cran-metafor, r-cran-clubsandwich, r-cran-sandwich, r-cran-lme4, r-cran-jsonlite.
suppressMessages({
  library(metafor)
  library(clubSandwich)
  library(sandwich)
  library(lme4)
})

d <- read.csv("cells.csv")
V <- as.matrix(read.csv("errors.csv", header = FALSE))
d$cell <- seq_len(nrow(d))
tight <- list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-15, maxit = 5000)

told <- function(y, mods = NULL, random = ~ 1 | dataset / cell) {
  arguments <- list(yi = d[[y]], V = V, random = random, data = d, test = "t", dfs = "contain", control = tight)
  if (!is.null(mods)) arguments$mods <- mods
  m <- do.call(rma.mv, arguments)
  club <- coef_test(m, vcov = "CR2", cluster = d$dataset, test = "Satterthwaite")
  made <- list(
    estimate = as.vector(m$b), std_error = m$se, variances = m$sigma2, q = m$QE, q_p = m$QEp,
    robust_error = club$SE, robust_df = club$df_Satt, robust_p = club$p_Satt
  )
  if (is.null(mods)) {
    p <- predict(m)
    W <- solve(V)
    X <- model.matrix(m)
    P <- W - W %*% X %*% solve(t(X) %*% W %*% X) %*% t(X) %*% W
    typical <- (m$k - m$p) / sum(diag(P))
    made$i2 <- m$sigma2 / (sum(m$sigma2) + typical)
    # metafor gives the interval of a new cell of a new dataset with t on the model's degrees of freedom.
    made$prediction <- c(p$pi.lb, p$pi.ub)
  }
  made
}

made <- list(
  both = told("both"), between = told("between"), neither = told("neither"),
  raters = told("both", ~ I(rater == "human"))
)

# One estimate a dataset: the ordinary random-effects model, and its shrunken estimates.
one <- d[!duplicated(d$dataset), ]
variance <- diag(V)[!duplicated(d$dataset)]
single <- rma(one$both, variance, method = "REML", control = list(threshold = 1e-12, maxiter = 1000))
shrunk <- blup(single)
made$single <- list(
  estimate = as.vector(single$b), std_error = single$se, variances = single$tau2, q = single$QE, i2 = single$I2 / 100,
  shrunken = shrunk$pred, shrunken_error = shrunk$se
)

# Covariance of two base models' coefficients on the same comparisons: one stacked fit, clustered by prompt.
p <- read.csv("pairs.csv")
p$y <- as.numeric(p$preferred == "a")
stacked <- data.frame(
  y = rep(p$y, 2), prompt = rep(p$prompt, 2),
  first = c(p$first, 0 * p$second), second = c(0 * p$first, p$second)
)
glmc <- glm.control(epsilon = 1e-14, maxit = 100)
m <- glm(y ~ 0 + first + second, family = binomial, data = stacked, control = glmc)
v <- vcovCL(m, cluster = stacked$prompt, type = "HC0", cadjust = TRUE)
made$stacked <- list(estimate = unname(coef(m)), covariance = unname(v))

# Slopes by domain in one fit with clustered errors, beside length; their equality by Wald's statistic.
m <- glm(y ~ 0 + first:domain + length, family = binomial, data = p, control = glmc)
v <- vcovCL(m, cluster = p$prompt, type = "HC0", cadjust = TRUE)
at <- grep("domain", names(coef(m)))
C <- cbind(-1, diag(length(at) - 1))
difference <- C %*% coef(m)[at]
wald <- as.numeric(t(difference) %*% solve(C %*% v[at, at] %*% t(C)) %*% difference)
slopes <- rma.mv(unname(coef(m)[at]), unname(v[at, at]), random = ~ 1 | g, data = data.frame(g = seq_along(at)), control = tight)
made$slopes <- list(
  estimate = unname(coef(m)[at]), std_error = unname(sqrt(diag(v))[at]), wald = wald,
  mean = as.vector(slopes$b), tau2 = slopes$sigma2, q = slopes$QE,
  shrunken = as.vector(slopes$b) + ranef(slopes)[[1]]$intrcpt
)

# The same in one step: a random slope by domain (Laplace), which the two steps come near to.
slope <- glmer(y ~ 0 + first + length + (0 + first | domain), family = binomial, data = p, control = glmerControl(tolPwrss = 1e-10))
made$random_slope <- list(mean = unname(fixef(slope)[1]), tau2 = as.numeric(VarCorr(slope)$domain), shrunken = coef(slope)$domain$first)

packages <- c("metafor", "clubSandwich", "sandwich", "lme4")
made$versions <- c(list(R = R.version.string), sapply(packages, function(p) as.character(packageVersion(p)), simplify = FALSE))
writeLines(jsonlite::toJSON(made, digits = NA, auto_unbox = TRUE, pretty = TRUE), "reference.json")
